"""Queueing formulas, held against tables, each other and numerical solutions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.numerics.queueing import (
    Station,
    erlang_b,
    erlang_c,
    md1,
    mg1,
    mg1_shared,
    mm1,
    mm1_response_quantile_s,
    mmc,
    shared_response_s,
)

loads = st.floats(0.01, 0.97)
times = st.floats(1e-3, 1e3)


@pytest.mark.parametrize(
    ("offered", "servers", "expected"), [(1, 1, 0.5), (2, 3, 4 / 19), (8, 10, 0.12166), (100, 100, 0.07570)]
)
def test_erlang_b_agrees_with_the_tables(offered: float, servers: int, expected: float) -> None:
    assert erlang_b(offered, servers) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("offered", "servers", "expected"), [(1, 2, 1 / 3), (2, 3, 4 / 9), (8, 10, 0.40918)])
def test_erlang_c_agrees_with_the_tables(offered: float, servers: int, expected: float) -> None:
    assert erlang_c(offered, servers) == pytest.approx(expected, rel=1e-4)


@given(st.integers(1, 12), loads)
def test_m_m_c_agrees_with_its_balance_equations(servers: int, load: float) -> None:
    numbers = np.arange(1, 4000)
    ratios = load * servers / np.minimum(numbers, servers)
    shares = np.exp(np.concatenate([[0.0], np.cumsum(np.log(ratios))]))
    shares /= shares.sum()
    waiting = np.maximum(np.arange(4000) - servers, 0)
    station = mmc(load * servers, 1.0, servers)
    assert station.num_waiting == pytest.approx(float(shares @ waiting), rel=1e-6)
    assert station.wait_frac == pytest.approx(float(shares[servers:].sum()), rel=1e-6)


@given(loads, times)
def test_one_server_of_m_m_c_is_m_m_1(load: float, service_s: float) -> None:
    one, many = mm1(load / service_s, service_s), mmc(load / service_s, service_s, 1)
    for name in Station.__struct_fields__:
        assert getattr(one, name) == pytest.approx(getattr(many, name))


@given(loads, times)
def test_steady_service_halves_the_wait_of_exponential(load: float, service_s: float) -> None:
    assert md1(load / service_s, service_s).wait_s == pytest.approx(mm1(load / service_s, service_s).wait_s / 2)


@given(loads, times, st.floats(0, 10))
def test_numbers_follow_from_times_by_littles_law(load: float, service_s: float, variation: float) -> None:
    station = mg1(load / service_s, service_s, variation)
    assert station.num_present - station.num_waiting == pytest.approx(station.load_frac)


def test_m_g_1_agrees_with_a_walk_through_its_waits() -> None:
    rng = np.random.default_rng(7)
    service = rng.gamma(0.5, 2.0, 400_000)  # mean 1, variation 2
    walk = np.cumsum(service - rng.exponential(1 / 0.6, 400_000))
    waits = walk - np.minimum(np.minimum.accumulate(walk), 0.0)  # Lindley's recursion
    assert mg1(0.6, 1.0, 2.0).wait_s == pytest.approx(float(waits.mean()), rel=0.03)


@given(loads, times)
def test_sharing_is_fair_in_proportion_to_the_work(load: float, service_s: float) -> None:
    rate = load / service_s
    assert mg1_shared(rate, service_s).response_s == pytest.approx(mm1(rate, service_s).response_s)
    assert shared_response_s(rate, service_s, 3 * service_s) == pytest.approx(
        3 * mg1_shared(rate, service_s).response_s
    )


def test_quantiles_of_the_response_are_those_of_an_exponential() -> None:
    assert mm1_response_quantile_s(0.5, 1.0, 0.5) == pytest.approx(2 * np.log(2))
    assert mm1_response_quantile_s(0.5, 1.0, 0.0) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mm1(2.0, 0.5), "less work must come than 1 x 1 s per second, got 1 s"),
        (lambda: mmc(3.0, 1.0, 3), "less work must come than 3 x 1 s"),
        (lambda: mm1(-1.0, 1.0), "arrivals must be >= 0"),
        (lambda: mmc(1.0, 0.1, 0), "servers >= 1, got .* and 0"),
        (lambda: mg1(0.1, 1.0, -1.0), "variation must be finite and >= 0, got -1"),
        (lambda: mm1_response_quantile_s(0.1, 1.0, 1.0), r"quantile must be in \[0, 1\)"),
        (lambda: erlang_b(-1.0, 3), "offered and num_servers must be >= 0"),
    ],
)
def test_what_has_no_answer_is_refused(call: object, said: str) -> None:
    assert callable(call)
    with pytest.raises(ConfigError, match=said):
        call()
