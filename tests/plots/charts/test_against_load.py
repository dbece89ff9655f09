from __future__ import annotations

import numpy as np

from headway.plots.chart import Bound, Curve
from headway.plots.charts.against_load import against_load


def test_points_are_in_the_order_of_the_load() -> None:
    columns = {"load": np.array([2.0, 1.0]), "value": np.array([0.5, 0.9]), "low": np.array([0.4, 0.8])}
    chart = against_load("goodput_frac", {"a": columns | {"high": np.array([0.6, 1.0])}}, bounds=[Bound("90 %", 0.9)])
    (curve,) = (mark for mark in chart.marks if isinstance(mark, Curve))
    assert curve.low is not None
    assert curve.high is not None
    assert (curve.x.tolist(), curve.y.tolist()) == ([1.0, 2.0], [0.9, 0.5])
    assert (curve.low.tolist(), curve.high.tolist()) == ([0.8, 0.4], [1.0, 0.6])
    assert chart.bounds[0].axis == "y"
    assert (chart.y.low, chart.y.unit, chart.title) == (0.0, "%", "goodput against load")


def test_a_time_that_explodes_is_drawn_on_a_logarithmic_axis() -> None:
    load = np.array([1.0, 2.0])
    assert against_load("p99_ttft_s", {"a": {"load": load, "value": np.array([0.1, 50.0])}}).y.log
    calm = against_load("p99_ttft_s", {"a": {"load": load, "value": np.array([0.1, 0.5])}})
    assert (calm.y.log, calm.y.low) == (False, 0.0)
    assert not against_load("p99_ttft_s", {"a": {"load": load, "value": np.array([0.0, 50.0])}}).y.log


def test_a_band_that_reaches_below_zero_ends_on_a_logarithmic_axis() -> None:
    columns = {"load": np.array([1.0, 2.0]), "value": np.array([0.1, 50.0]), "low": np.array([-1.0, 40.0])}
    (curve,) = against_load("p99_ttft_s", {"a": columns | {"high": np.array([1.2, 60.0])}}).marks
    assert isinstance(curve, Curve)
    assert curve.low is not None
    assert curve.low.tolist() == [0.05, 40.0]


def test_without_intervals_there_is_no_band() -> None:
    chart = against_load("p99_ttft_s", {"a": {"load": np.array([1.0]), "value": np.array([np.nan])}})
    assert all(mark.low is None for mark in chart.marks if isinstance(mark, Curve))
