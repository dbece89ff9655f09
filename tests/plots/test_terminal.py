from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headway.plots.chart import Curve
from headway.plots.charts.loss import loss_curves
from headway.plots.terminal import draw_curves

NUMBERS = st.floats(-1e6, 1e6) | st.just(float("nan"))


def curve(x: list[float], y: list[float]) -> Curve:
    return Curve("a", np.array(x, np.float64), np.array(y, np.float64))


def test_a_line_goes_from_corner_to_corner() -> None:
    lines = draw_curves([curve([0, 1], [0, 1])], width=4, height=2)
    assert lines == ["1 ⠀⠀⡠⠊", "0 ⡠⠊⠀⠀"]


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw_curves([]) == []
    assert draw_curves([curve([0], [float("nan")])]) == []


@given(st.lists(st.tuples(st.floats(0, 1e4), NUMBERS), max_size=30), st.integers(2, 40), st.integers(2, 9))
def test_whatever_comes_fits_its_frame(points: list[tuple[float, float]], width: int, height: int) -> None:
    lines = draw_curves([curve([x for x, _ in points], [y for _, y in points])], width, height)
    assert len(lines) in (0, height)
    assert len({len(line) for line in lines}) <= 1
    assert all(0x2800 <= ord(letter) < 0x2900 for line in lines for letter in line[-width:])


def test_losses_without_points_are_left_out() -> None:
    chart = loss_curves({"training": [(1, 2.0), (2, 1.0)], "validation": []}, "Loss of a")
    assert [mark.name for mark in chart.marks] == ["training"]
