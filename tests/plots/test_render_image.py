from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.plots.chart import Chart, Curve
from headway.plots.palette import COLOURS, Palette
from headway.plots.render_image import svg_of, write_image
from headway.plots.save import save
from plots.figures import figures

pytest.importorskip("matplotlib")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", figures())
def test_every_figure_is_drawn(tmp_path: Path, name: str) -> None:
    save(figures()[name], tmp_path / "figure.svg")
    texts = [element.text for element in ET.parse(tmp_path / "figure.svg").iter(f"{SVG}text")]
    assert figures()[name].title in texts
    if name.startswith("no "):
        assert "nothing to show" in texts


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_the_suffix_says_the_kind_and_the_same_figure_gives_the_same_bytes(
    tmp_path: Path, suffix: str, magic: bytes
) -> None:
    for stem in ("a", "b"):
        write_image(figures()["cdf"], tmp_path / f"{stem}{suffix}")
    first, second = ((tmp_path / f"{stem}{suffix}").read_bytes() for stem in ("a", "b"))
    assert first.startswith(magic)
    assert first == second


def test_a_name_has_its_colour_in_every_figure() -> None:
    palette = Palette(["first", "second"])
    line = Curve("second", np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    svg = svg_of(Chart("x", marks=(line,)), palette, "figure-1")
    assert COLOURS[1] in svg
    assert COLOURS[0] not in svg


def test_a_picture_for_a_page_has_names_of_its_own_and_the_page_s_ink() -> None:
    svg = svg_of(figures()["cdf"], Palette(), "figure-7")
    root = ET.fromstring(svg)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids
    assert all(name is not None and name.startswith("figure-7-") for name in ids)
    used = {use.get("{http://www.w3.org/1999/xlink}href") for use in root.iter(f"{SVG}use")}
    assert used <= {f"#{name}" for name in ids}
    assert "currentColor" in svg
    assert "<metadata" not in svg


def test_dollars_and_brackets_in_names_are_no_formulas() -> None:
    line = Curve("$x_1$ <i> &", np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    other = Curve("b^2", np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    svg = svg_of(Chart("cost ($)", marks=(line, other)), Palette(), "figure-1")
    texts = [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]
    assert {"$x_1$ <i> &", "b^2"} <= set(texts)


def test_another_suffix_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in one of .png, .svg, .pdf, .html, got '.gif'. Name it x.png."):
        save(figures()["cdf"], tmp_path / "x.gif")
    with pytest.raises(ConfigError, match=r"must end in .png, .svg, .pdf, got '.gif'"):
        write_image(figures()["cdf"], tmp_path / "x.gif")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_imported_before_something_is_drawn() -> None:
    code = (
        "import sys, headway.plots.page, headway.plots.save, headway.plots.perfetto\n"
        "print([name for name in ('matplotlib', 'plotly', 'scipy') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"
