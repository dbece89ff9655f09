from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.plots.chart import Axis, Bars, Bound, Chart, Curve, Panels, Spans, is_empty, lanes_of, natural_order

ONE = np.array([1.0])


def test_an_axis_is_named_with_its_unit() -> None:
    assert Axis("TTFT", "s").title == "TTFT (s)"
    assert Axis("share", "%").title == "share"
    assert Axis("", "requests").title == "requests"


def test_columns_of_a_mark_are_equally_long() -> None:
    with pytest.raises(ConfigError, match=r"curve 'a': columns must be equally long, got x 1, y 2"):
        Curve("a", ONE, np.array([1.0, 2.0]))
    with pytest.raises(ConfigError, match="bars 'a': columns must be equally long, got labels 1, keys 2"):
        Bars("a", ("x",), ONE, keys=("x", "y"))


def test_marks_of_two_kinds_do_not_share_a_chart() -> None:
    with pytest.raises(ConfigError, match="all marks must be of one kind, got Bars, Curve"):
        Chart("mixed", marks=(Curve("a", ONE, ONE), Bars("b", ("x",), ONE)))


def test_bounds_can_be_drawn() -> None:
    with pytest.raises(ConfigError, match="bound 'x': at must be a finite number, got nan"):
        Bound("x", float("nan"))
    with pytest.raises(ConfigError, match=r"bounds of a logarithmic x axis must be > 0, got 0\.0"):
        Chart("x", Axis(log=True), bounds=(Bound("x", 0.0),))
    Chart("x", Axis(log=True), bounds=(Bound("y", 0.0, "y"),))


def test_panels_hold_at_least_one_chart() -> None:
    with pytest.raises(ConfigError, match="at least one chart"):
        Panels("none", ())


def test_names_with_numbers_are_in_their_order() -> None:
    assert natural_order(["n-10", "n-2", "m", "10", "n-2b"]) == ["10", "m", "n-2", "n-2b", "n-10"]


def test_lanes_are_those_of_all_spans() -> None:
    marks = (Spans("x", ONE, ONE, np.array(["n-10"])), Spans("y", ONE, ONE, np.array(["n-9"])))
    assert lanes_of(Chart("gantt", marks=marks)) == ["n-9", "n-10"]


def test_a_chart_of_gaps_is_empty() -> None:
    assert is_empty(Chart("x"))
    assert is_empty(Chart("x", marks=(Curve("a", ONE, np.array([np.nan])),)))
    assert not is_empty(Chart("x", marks=(Curve("a", ONE, ONE),)))
