from __future__ import annotations

import numpy as np
import pytest

from headway.plots.chart import Bound, Chart, Curve
from headway.plots.charts.occupancy import occupancy
from headway.plots.charts.timeline import timeline
from plots.made import outcome


def _curves(chart: Chart) -> list[Curve]:
    return [mark for mark in chart.marks if isinstance(mark, Curve)]


def test_one_panel_per_column_and_one_curve_per_resource() -> None:
    run = outcome(num_resources=3)
    panels = timeline(run.samples, bounds={"kv_used_frac": [Bound("watermark", 0.95, "y")]})
    assert panels is not None
    assert [chart.title for chart in panels.charts] == ["Waiting", "Running", "KV used", "Power"]
    assert [len(chart.bounds) for chart in panels.charts] == [0, 0, 1, 0]
    waiting = _curves(panels.charts[0])
    assert [curve.name for curve in waiting] == ["main-0", "main-1", "main-2"]
    wanted = run.samples["waiting"][run.samples["resource"] == "main-1"]
    assert waiting[1].y.tolist() == wanted.tolist()


def test_values_that_were_not_sampled_are_left_out() -> None:
    panels = timeline(outcome().samples, ["watts"])
    assert panels is not None
    assert all(np.isfinite(curve.y).all() for curve in _curves(panels.charts[0]))


def test_many_resources_are_drawn_as_mean_and_range() -> None:
    names = np.array([f"r{place}" for place in range(8)])
    at_s = np.array([0.0, 10.0])
    samples = {
        "at_s": np.repeat(at_s, 8),
        "resource": np.tile(names, 2),
        "waiting": np.concatenate([np.arange(8), 10 + np.arange(8)]),
    }
    panels = timeline(samples)
    assert panels is not None
    (curve,) = _curves(panels.charts[0])
    assert curve.low is not None
    assert curve.high is not None
    assert curve.name == "mean of 8"
    assert (curve.y[0], curve.low[0], curve.high[0]) == (3.5, 0.0, 7.0)
    # A value holds until the next sample.
    assert (curve.y[-2], curve.y[-1]) == (3.5, 13.5)


def test_a_resource_does_not_count_before_its_first_sample() -> None:
    samples = {
        "at_s": np.array([0.0, 4.0, 8.0]),
        "resource": np.array(["a", "b", "a"]),
        "kv_used_frac": np.array([0.2, 0.8, 0.2]),
    }
    (curve,) = _curves(occupancy({"run": samples}))
    assert (curve.name, curve.y[0], curve.y[-1]) == ("run", pytest.approx(0.2), pytest.approx(0.5))


def test_several_runs_have_a_curve_each_and_no_bands() -> None:
    chart = occupancy({"a": outcome(0).samples, "b": outcome(1).samples, "c": {}}, full="full")
    assert [(curve.name, curve.low) for curve in _curves(chart)] == [("a", None), ("b", None)]
    assert [(bound.name, bound.at, bound.axis) for bound in chart.bounds] == [("full", 1.0, "y")]


def test_without_samples_there_is_no_timeline() -> None:
    assert timeline({}) is None
    assert timeline({"at_s": np.empty(0), "resource": np.empty(0, dtype=str), "waiting": np.empty(0)}) is None
