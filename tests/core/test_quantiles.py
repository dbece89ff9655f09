"""Quantiles stay within their error."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.core.quantiles import Quantiles


@given(
    values=st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1e9)), min_size=1, max_size=200),
    quantile=st.floats(0.0, 1.0),
    error_frac=st.sampled_from([0.001, 0.01, 0.1]),
)
def test_a_quantile_is_that_of_the_sorted_numbers_to_a_relative_error(
    values: list[float], quantile: float, error_frac: float
) -> None:
    quantiles = Quantiles(error_frac)
    for value in values:
        quantiles.add(value)
    exact = sorted(values)[max(1, math.ceil(quantile * len(values))) - 1]
    assert quantiles.at(quantile) == pytest.approx(exact, rel=error_frac * 1.001, abs=0.0)
    assert quantiles.count == len(values)
    assert quantiles.max == max(values)
    assert quantiles.mean == pytest.approx(sum(values) / len(values))


def test_memory_is_bounded_by_the_range_of_the_numbers() -> None:
    quantiles = Quantiles()
    for n in range(100_000):
        quantiles.add(1e-6 * 1.0002**n)
    assert len(quantiles._buckets) < 1100


def test_nothing_counted_has_no_quantile() -> None:
    assert math.isnan(Quantiles().at(0.5))
    assert math.isnan(Quantiles().mean)


@pytest.mark.parametrize("error_frac", [0.0, 1.0, -1.0])
def test_an_error_must_be_a_share(error_frac: float) -> None:
    with pytest.raises(ConfigError, match="error_frac must be in"):
        Quantiles(error_frac)
