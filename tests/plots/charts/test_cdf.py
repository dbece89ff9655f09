from __future__ import annotations

import numpy as np
import pytest

from headway.plots.chart import Bound, Chart, Curve
from headway.plots.charts.cdf import cdf, cdf_of_outcomes
from headway.plots.charts.lengths import lengths
from plots.made import outcome


def _curves(chart: Chart) -> list[Curve]:
    return [mark for mark in chart.marks if isinstance(mark, Curve)]


def test_a_step_stands_at_every_value() -> None:
    (curve,) = _curves(cdf("ttft_s", {"a": np.array([3.0, 1.0, np.nan, 2.0, 2.0])}))
    assert curve.shape == "step"
    assert curve.x.tolist() == [1.0, 1.0, 2.0, 2.0, 3.0]
    assert curve.y.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_short_times_and_their_bounds_are_in_milliseconds() -> None:
    chart = cdf("tpot_s", {"a": np.array([0.01, 0.02, 0.03])}, bounds=[Bound("50 ms", 0.05)])
    assert chart.x.title == "TPOT (ms)"
    assert _curves(chart)[0].x.tolist() == pytest.approx([10, 10, 20, 30])
    assert chart.bounds[0].axis == "x"
    assert chart.bounds[0].at == pytest.approx(50)


def test_shares_stay_shares() -> None:
    chart = cdf("kv_used_frac", {"a": np.array([0.001, 0.002])})
    assert (chart.x.unit, _curves(chart)[0].x.max()) == ("%", 0.002)


def test_a_wide_distribution_is_drawn_on_a_logarithmic_axis() -> None:
    assert cdf("ttft_s", {"a": np.array([1.0, 1.0, 100.0])}).x.log
    assert not cdf("ttft_s", {"a": np.array([1.0, 2.0, 3.0])}).x.log
    assert not cdf("queue_s", {"a": np.array([0.0, 1.0, 1000.0])}).x.log
    assert not cdf("ttft_s", {"a": np.array([1.0, 1.0, 100.0])}, log=False).x.log


def test_many_values_become_few_points_that_say_the_same() -> None:
    values = np.random.default_rng(0).lognormal(size=200_000)
    (curve,) = _curves(cdf("ttft_s", {"a": values}, log=True))
    assert len(curve.x) < 5_000
    assert (curve.x[0], curve.x[-1], curve.y[-1]) == (values.min(), values.max(), 1.0)
    for share in (0.01, 0.5, 0.99):
        assert np.interp(share, curve.y, curve.x) == pytest.approx(np.quantile(values, share), rel=0.01)


def test_the_runs_of_a_name_are_put_together() -> None:
    runs = {"a": [outcome(0), outcome(1)], "b": [outcome(2)]}
    first, second = _curves(cdf_of_outcomes("tpot_s", runs))
    assert (first.name, len(first.x), second.name, len(second.x)) == ("a", 399, "b", 200)


def test_lengths_are_in_tokens() -> None:
    chart = lengths({"prompt": np.array([10, 20]), "output": np.array([1, 2])})
    assert chart.x.title == "length (tokens)"
    assert [curve.name for curve in _curves(chart)] == ["prompt", "output"]
