from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from headway.plots.palette import BOUND, COLOURS, Palette

Floats = npt.NDArray[np.float64]


def test_a_name_keeps_its_look_whoever_comes_after() -> None:
    palette = Palette(["a"])
    first = palette.look("a")
    for place in range(30):
        palette.look(f"other-{place}")
    assert palette.look("a") == first


def test_thirty_names_are_told_apart_by_colour_or_dash() -> None:
    palette = Palette()
    looks = {(palette.look(f"{place}").colour, palette.look(f"{place}").dash) for place in range(28)}
    assert len(looks) == 28


def test_names_of_another_kind_begin_with_the_first_colour() -> None:
    palette = Palette(["a", "b"])
    assert palette.of("resources").look("main-0").colour == COLOURS[0]
    assert palette.of("resources") is palette.of("resources")
    assert palette.of("") is palette


SIGHTS = {
    "all cones": np.eye(3),
    "no red cones": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "no green cones": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}
"""What is left of linear red, green and blue (Viénot, Brettel and Mollon, 1999)."""
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def _linear(colour: str) -> Floats:
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def _contrast(one: str, other: str) -> float:
    dark, light = sorted(float(TO_XYZ[1] @ _linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def _lab(linear: Floats) -> Floats:
    f = np.cbrt(np.maximum(TO_XYZ @ linear / (TO_XYZ @ np.ones(3)), 1e-9))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("colour", [*COLOURS, BOUND])
def test_colours_are_seen_on_white_and_on_black(colour: str) -> None:
    assert _contrast(colour, "#ffffff") > 2.2
    assert _contrast(colour, "#15181c") > 3


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_are_told_apart_by_all_who_see_colours(sight: str) -> None:
    # A difference of 2.3 is just noticed side by side; thin lines far apart need several times that.
    for one, other in combinations(COLOURS, 2):
        seen = [_lab(SIGHTS[sight] @ _linear(colour)) for colour in (one, other)]
        assert np.linalg.norm(seen[0] - seen[1]) > 15, (one, other)
