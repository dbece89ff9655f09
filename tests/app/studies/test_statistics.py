from __future__ import annotations

import math
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.app.studies.statistics import interval, paired, student_quantile
from headway.core.errors import ConfigError

FINITE = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 31, 120, 999])
@pytest.mark.parametrize("quantile", [0.01, 0.5, 0.8, 0.95, 0.975, 0.995, 0.9999])
def test_quantiles_are_those_of_student(freedom: int, quantile: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student_quantile(quantile, freedom) == pytest.approx(stats.t.ppf(quantile, freedom), rel=1e-9, abs=1e-9)


@given(st.lists(FINITE, min_size=2, max_size=20))
def test_an_interval_is_that_of_scipy(values: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = interval(values)
    assert found.mean == pytest.approx(sum(values) / len(values), rel=1e-9, abs=1e-6)
    want = stats.t.ppf(0.975, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    assert found.half == pytest.approx(want, rel=1e-6, abs=1e-6)


def test_one_value_has_no_interval() -> None:
    found = interval([3.0])
    assert (found.mean, found.num, found.excludes_zero) == (3.0, 1, False)
    assert math.isnan(found.half)
    assert math.isnan(interval([]).mean)


def test_values_that_do_not_exist_are_left_out() -> None:
    assert interval([1.0, math.nan, 3.0]) == interval([1.0, 3.0])


def test_pairs_see_what_means_do_not() -> None:
    noise = [0.0, 100.0, 200.0, 300.0]
    ours = [value + 1.0 + 0.01 * (value > 100) for value in noise]
    assert interval(ours).low < interval(noise).high  # the means alone tell nothing
    difference = paired(ours, noise)
    assert difference.excludes_zero
    assert difference.mean == pytest.approx(1.005)


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="longer"):
        paired([1.0], [1.0, 2.0])


@pytest.mark.parametrize(("quantile", "freedom"), [(0.0, 3), (1.0, 3), (0.5, 0)])
def test_nonsense_is_refused(quantile: float, freedom: int) -> None:
    with pytest.raises(ConfigError, match="freedom >= 1"):
        student_quantile(quantile, freedom)
