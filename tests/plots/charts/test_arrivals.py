from __future__ import annotations

import numpy as np
import pytest

from headway.plots.chart import Chart, Curve
from headway.plots.charts.arrivals import arrivals


def _curves(chart: Chart) -> list[Curve]:
    return [mark for mark in chart.marks if isinstance(mark, Curve)]


def test_the_area_under_the_rate_is_the_number_of_arrivals() -> None:
    at_s = np.sort(np.random.default_rng(0).uniform(0, 600, 5_000))
    (curve,) = _curves(arrivals({"trace": at_s}, bucket_s=7.0))
    assert (np.diff(curve.x) * curve.y[:-1]).sum() == pytest.approx(5_000, rel=1e-6)
    assert curve.x[-1] == at_s[-1]


def test_a_sliver_at_the_end_does_not_look_like_a_drop_or_a_peak() -> None:
    (curve,) = _curves(arrivals({"trace": np.append(np.arange(0.0, 20.0, 0.1), 20.001)}, bucket_s=1.0))
    assert curve.y == pytest.approx(10.0)


def test_buckets_are_round_and_long_traces_in_hours() -> None:
    chart = arrivals({"trace": np.linspace(0, 24 * 3600, 10_000)})
    assert chart.x.title == "time (h)"
    assert "over 600 s" in chart.y.title
    assert _curves(chart)[0].x[-1] == pytest.approx(24)
    assert len(_curves(chart)[0].x) <= 202


def test_a_trace_without_requests_has_no_curve() -> None:
    assert arrivals({"empty": np.empty(0)}).marks == ()
    (curve,) = _curves(arrivals({"one": np.array([0.0])}))
    assert np.isfinite(curve.y).all()
