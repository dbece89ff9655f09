"""Arrival processes: each draws the times of any number of requests at once."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.traces.table import Floats


class Process(Protocol):
    """When requests arrive."""

    def draw(self, num: int, rng: np.random.Generator) -> Floats:
        """Return `num` rising times in seconds; the first gap begins at 0."""


class Arrivals(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all processes of one steady rate have.

    Parameters
    ----------
    rate_per_s : float
        Mean arrivals per second, > 0.
    """

    rate_per_s: float = 1.0

    def __post_init__(self) -> None:
        _require("rate_per_s", self.rate_per_s, self.rate_per_s > 0, "> 0")


class Poisson(Arrivals, frozen=True, kw_only=True, tag="poisson"):
    """Arrivals that know nothing of each other: exponential gaps."""

    def draw(self, num: int, rng: np.random.Generator) -> Floats:
        """Draw the times."""
        return _times(rng.standard_exponential(num), self.rate_per_s)


class Constant(Arrivals, frozen=True, kw_only=True, tag="constant"):
    """Arrivals at equal distances, the first at 0."""

    def draw(self, num: int, rng: np.random.Generator) -> Floats:  # noqa: ARG002 (nothing to draw)
        """Return the times."""
        return np.arange(num) / self.rate_per_s


class Gamma(Arrivals, frozen=True, kw_only=True, tag="gamma"):
    """Independent gaps of a gamma distribution.

    Parameters
    ----------
    cv : float
        Standard deviation of the gaps over their mean, > 0: 1 is Poisson, more comes in bursts, less is evener.
    """

    cv: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("cv", self.cv, self.cv > 0, "> 0")

    def draw(self, num: int, rng: np.random.Generator) -> Floats:
        """Draw the times."""
        shape = self.cv**-2
        return _times(rng.standard_gamma(shape, num) / shape, self.rate_per_s)


class Weibull(Arrivals, frozen=True, kw_only=True, tag="weibull"):
    """Independent gaps of a Weibull distribution.

    Parameters
    ----------
    cv : float
        Standard deviation of the gaps over their mean, in [0.05, 20]: 1 is Poisson, more comes in bursts.
    """

    cv: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("cv", self.cv, 0.05 <= self.cv <= 20, "in [0.05, 20]")

    def draw(self, num: int, rng: np.random.Generator) -> Floats:
        """Draw the times."""
        shape = weibull_shape(self.cv)
        return _times(rng.weibull(shape, num) / math.gamma(1 + 1 / shape), self.rate_per_s)


class Markov(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="markov"):
    """A Poisson process whose rate jumps between states: calm and storm.

    Parameters
    ----------
    rates_per_s : tuple of float
        The rate in each of two states or more, each >= 0, one of them > 0.
    mean_stays_s : tuple of float
        How long each state lasts on average, in seconds, each > 0; stays are exponential, the next state is any other.
    """

    rates_per_s: tuple[float, ...]
    mean_stays_s: tuple[float, ...]

    def __post_init__(self) -> None:
        rates, stays = self.rates_per_s, self.mean_stays_s
        _require("rates_per_s", rates, len(rates) >= 2 and min(rates) >= 0 < max(rates), "two rates or more, >= 0")
        _require("mean_stays_s", stays, len(stays) == len(rates) and min(stays) > 0, "one time > 0 for each rate")

    @property
    def rate_per_s(self) -> float:
        """Mean arrivals per second over a long time: all states are entered equally often."""
        pairs = zip(self.rates_per_s, self.mean_stays_s, strict=True)
        return sum(rate * stay for rate, stay in pairs) / sum(self.mean_stays_s)

    def draw(self, num: int, rng: np.random.Generator) -> Floats:
        """Draw the times: Poisson arrivals of rate 1, on a clock that runs as fast as the state says."""
        wanted = np.cumsum(rng.standard_exponential(num))
        ends_s, counts = self._walk(float(wanted[-1]) if num else 0.0, rng)
        return np.interp(wanted, counts, ends_s)

    def _walk(self, until: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return when the states ended, and how many arrivals were expected by then, up to `until` of them."""
        rates, stays = np.array(self.rates_per_s), np.array(self.mean_stays_s)
        state, times, counts = int(rng.integers(len(rates))), [np.zeros(1)], [np.zeros(1)]
        while counts[-1][-1] < until:
            steps = rng.integers(1, len(rates), 1024)
            states = (state + np.concatenate([[0], np.cumsum(steps)])) % len(rates)
            spent = rng.standard_exponential(1024) * stays[states[:-1]]
            times.append(times[-1][-1] + np.cumsum(spent))
            counts.append(counts[-1][-1] + np.cumsum(spent * rates[states[:-1]]))
            state = int(states[-1])
        return np.concatenate(times), np.concatenate(counts)


class Diurnal(Arrivals, frozen=True, kw_only=True, tag="diurnal"):
    """A Poisson process whose rate follows the time of day.

    Parameters
    ----------
    period_s : float
        One day, in seconds, > 0; 86,400 by default.
    swing_frac : float
        How far the rate goes above and below its mean, as a share of it, in [0, 1]; a sine that starts at its lowest.
    profile : tuple of float
        The rate through the day instead of the sine: relative to each other, each >= 0, at equal distances, held
        between them. 24 of them are hours.
    """

    period_s: float = 86_400.0
    swing_frac: float = 0.5
    profile: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("period_s", self.period_s, self.period_s > 0, "> 0")
        _require("swing_frac", self.swing_frac, 0 <= self.swing_frac <= 1, "in [0, 1]")
        fine = not self.profile or min(self.profile) >= 0 < max(self.profile)
        _require("profile", self.profile, fine, "rates >= 0, one of them > 0")

    def draw(self, num: int, rng: np.random.Generator) -> Floats:
        """Draw the times: Poisson arrivals of the mean rate, on a clock that runs faster by day."""
        even = _times(rng.standard_exponential(num), self.rate_per_s) / self.period_s
        day, at, passed = np.floor(even), *self._day()
        result: Floats = (day + np.interp(even - day, passed, at)) * self.period_s
        return result

    def _day(self) -> tuple[Floats, Floats]:
        """Return moments of the day in [0, 1], and which share of the day's arrivals came by then."""
        if self.profile:
            passed = np.concatenate([[0.0], np.cumsum(self.profile)])
            return np.linspace(0, 1, len(passed)), passed / passed[-1]
        at = np.linspace(0, 1, 1441)
        return at, at - self.swing_frac * np.sin(2 * np.pi * at) / (2 * np.pi)


AnyArrivals = Poisson | Constant | Gamma | Weibull | Markov | Diurnal
"""What ``arrivals = { kind = ... }`` of a recipe may be."""


def weibull_shape(cv: float) -> float:
    """Return the shape of the Weibull distribution whose standard deviation over mean is `cv`."""
    low, high = 0.1, 60.0  # the shape falls as cv rises
    for _ in range(60):
        shape = (low + high) / 2
        spread = math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape)
        low, high = (shape, high) if math.expm1(spread) > cv**2 else (low, shape)
    return (low + high) / 2


def _times(gaps: Floats, rate_per_s: float) -> Floats:
    times: Floats = np.cumsum(gaps) / rate_per_s
    return times


def _require(name: str, value: Any, fine: bool, must: str) -> None:
    if not fine or not np.all(np.isfinite(value)):
        raise ConfigError(f"arrivals: {name} must be {must}, got {value}.")
