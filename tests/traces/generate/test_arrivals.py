from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.traces.generate.arrivals import (
    AnyArrivals,
    Constant,
    Diurnal,
    Gamma,
    Markov,
    Poisson,
    Process,
    Weibull,
    weibull_shape,
)

NUM = 200_000


def gaps(process: Process, seed: int = 0) -> np.ndarray:
    return np.diff(process.draw(NUM, np.random.default_rng(seed)), prepend=0.0)


@pytest.mark.parametrize(
    ("process", "cv"),
    [
        (Poisson(rate_per_s=3.0), 1.0),
        (Constant(rate_per_s=3.0), 0.0),
        (Gamma(rate_per_s=3.0, cv=2.5), 2.5),
        (Gamma(rate_per_s=3.0, cv=0.4), 0.4),
        (Weibull(rate_per_s=3.0, cv=2.5), 2.5),
        (Weibull(rate_per_s=3.0, cv=0.4), 0.4),
    ],
)
def test_rate_and_burstiness_are_what_was_asked_for(process: Process, cv: float) -> None:
    found = gaps(process)
    assert found.mean() == pytest.approx(1 / 3, rel=0.03)
    assert found.std() / found.mean() == pytest.approx(cv, rel=0.05, abs=0.01)
    assert (found >= 0).all()


def test_the_shape_of_weibull_gaps_is_found() -> None:
    assert weibull_shape(1.0) == pytest.approx(1.0)
    assert weibull_shape(5**0.5) == pytest.approx(0.5)  # a shape of 1/2 has this cv exactly
    assert weibull_shape(0.05) > 20


def test_states_of_a_markov_process_have_their_rates_and_stays() -> None:
    process = Markov(rates_per_s=(1.0, 50.0), mean_stays_s=(20.0, 5.0))
    assert process.rate_per_s == pytest.approx((1 * 20 + 50 * 5) / 25)
    times = process.draw(NUM, np.random.default_rng(1))
    assert NUM / times[-1] == pytest.approx(process.rate_per_s, rel=0.1)
    counts = np.bincount(times.astype(int))
    assert counts.var() / counts.mean() > 10
    assert (counts > 25).mean() == pytest.approx(0.2, abs=0.05)  # the share of time in the storm


def test_a_state_may_be_silent_and_there_may_be_many() -> None:
    times = Markov(rates_per_s=(0.0, 4.0, 8.0), mean_stays_s=(10.0, 10.0, 10.0)).draw(NUM, np.random.default_rng(2))
    assert NUM / times[-1] == pytest.approx(4.0, rel=0.05)
    assert np.diff(times).max() > 30


@pytest.mark.parametrize("profile", [(), (1.0, 0.0, 3.0, 4.0)])
def test_the_rate_follows_the_time_of_day(profile: tuple[float, ...]) -> None:
    process = Diurnal(rate_per_s=2.0, period_s=1000.0, swing_frac=0.8, profile=profile)
    times = process.draw(NUM, np.random.default_rng(3))
    assert NUM / times[-1] == pytest.approx(2.0, rel=0.02)
    quarter = np.bincount((times % 1000 // 250).astype(int)) / NUM
    sine = (0.25 - 0.8 / (2 * np.pi), 0.25 + 0.8 / (2 * np.pi))
    expected = [share / 8 for share in profile] if profile else [sine[0], sine[1], sine[1], sine[0]]
    # The first and last quarters of a sine that starts at its lowest are equal, as are those between.
    np.testing.assert_allclose(quarter, expected, atol=0.02)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kind": "poisson", "rate_per_s": 0.0}, "rate_per_s must be > 0"),
        ({"kind": "poisson", "rate_per_s": float("inf")}, "rate_per_s must be > 0"),
        ({"kind": "weibull", "cv": 100.0}, r"cv must be in \[0.05, 20\]"),
        ({"kind": "markov", "rates_per_s": [1.0], "mean_stays_s": [1.0]}, "two rates or more"),
        ({"kind": "markov", "rates_per_s": [0.0, 0.0], "mean_stays_s": [1.0, 1.0]}, "two rates or more"),
        ({"kind": "markov", "rates_per_s": [0.0, 1.0], "mean_stays_s": [1.0]}, "one time > 0 for each rate"),
        ({"kind": "diurnal", "swing_frac": 1.5}, r"swing_frac must be in \[0, 1\]"),
        ({"kind": "diurnal", "profile": [0.0, 0.0]}, "profile must be rates"),
    ],
)
def test_impossible_processes_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(given, AnyArrivals)


def test_made_directly_they_raise_the_error_of_a_configuration() -> None:
    with pytest.raises(ConfigError, match="cv must be > 0"):
        Gamma(cv=-1.0)


@pytest.mark.parametrize(
    "process",
    [Poisson(), Gamma(cv=3.0), Weibull(cv=3.0), Diurnal(), Markov(rates_per_s=(1.0, 9.0), mean_stays_s=(60.0, 60.0))],
)
def test_a_million_arrivals_take_well_under_a_second(process: Process) -> None:
    start_s = time.process_time()
    assert len(process.draw(1_000_000, np.random.default_rng(0))) == 1_000_000
    assert time.process_time() - start_s < 1.0


def test_few_or_no_arrivals_are_fine() -> None:
    for process in (Poisson(), Gamma(), Weibull(), Constant(), Diurnal()):
        assert len(process.draw(0, np.random.default_rng(0))) == 0
        assert len(process.draw(1, np.random.default_rng(0))) == 1
    assert len(Markov(rates_per_s=(0.0, 1.0), mean_stays_s=(1.0, 1.0)).draw(0, np.random.default_rng(0))) == 0
