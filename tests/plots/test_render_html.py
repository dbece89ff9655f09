from __future__ import annotations

import json

import numpy as np
import pytest

from headway.plots.chart import Axis, Chart, Curve, Panels
from headway.plots.palette import Palette
from headway.plots.render_html import MAX_POINTS, encode, specification
from plots.figures import figures

ONE = np.array([1.0])


@pytest.mark.parametrize("name", figures())
def test_plotly_knows_every_part_of_a_specification(name: str) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    spec = json.loads(encode(specification(figures()[name], Palette())))
    figure = graph_objects.Figure(spec)  # raises for a property or value that it does not know
    assert len(figure.data) == len(spec["data"])


def test_data_cannot_leave_their_script_element() -> None:
    chart = Chart("x", marks=(Curve("</script><script>alert(1)", np.array([1.0]), np.array([1.0])),))
    text = encode(specification(chart, Palette()))
    assert "<" not in text
    assert "&lt;/script&gt;" in text


def test_gaps_and_infinite_values_are_null() -> None:
    chart = Chart("x", marks=(Curve("a", np.array([1.0, 2.0, 3.0]), np.array([np.nan, np.inf, 0.1 + 0.2])),))
    assert json.loads(encode(specification(chart, Palette())))["data"][0]["y"] == [None, None, 0.3]


def test_long_curves_are_thinned_and_keep_their_peak() -> None:
    y = np.sin(np.arange(100_000) / 1000)
    y[31_415] = 7.0
    trace = specification(Chart("x", marks=(Curve("a", np.arange(100_000.0), y),)), Palette())["data"][0]
    assert len(trace["y"]) <= MAX_POINTS
    assert trace["x"][trace["y"].index(7.0)] == 31_415


def test_a_name_has_one_entry_in_the_legend_of_all_panels() -> None:
    spec = specification(figures()["timeline"], Palette())
    entries = [trace["name"] for trace in spec["data"] if trace["showlegend"]]
    assert sorted(entries) == ["main-0", "main-1"]
    assert {trace["yaxis"] for trace in spec["data"]} == {"y", "y2", "y3", "y4"}
    assert [spec["layout"][f"xaxis{row}"]["matches"] for row in (2, 3, 4)] == ["x", "x", "x"]


def test_bounds_on_logarithmic_axes_are_named_where_they_stand() -> None:
    layout = specification(figures()["log"], Palette())["layout"]
    assert layout["shapes"][0]["x0"] == 1.0
    (note,) = (note for note in layout["annotations"] if note["text"] == "1 s")
    assert note["x"] == 0.0  # a note's place on such an axis is a logarithm


def test_given_ends_of_an_axis_hold() -> None:
    curve = Curve("a", np.array([1.0]), np.array([5.0]))
    layout = specification(Chart("x", Axis(low=1.0, high=100.0, log=True), Axis(low=0.0), (curve,)), Palette())[
        "layout"
    ]
    assert layout["xaxis"]["range"] == [0.0, 2.0]
    assert layout["yaxis"]["autorangeoptions"] == {"minallowed": 0.0, "include": [0.0]}


def test_panels_that_do_not_share_x_keep_their_own() -> None:
    charts = tuple(Chart(name, Axis(name), Axis(), (Curve("a", ONE, ONE),)) for name in ("time", "length"))
    shared = specification(Panels("x", charts), Palette())["layout"]
    apart = specification(Panels("x", charts, share_x=False), Palette())["layout"]
    assert [shared[axis]["title"]["text"] for axis in ("xaxis", "xaxis2")] == ["", "length"]
    assert [apart[axis]["title"]["text"] for axis in ("xaxis", "xaxis2")] == ["time", "length"]
    assert "matches" not in apart["xaxis2"]
