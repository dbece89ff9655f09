"""When requests are sent: gaps of a gamma process, as many a load generator draws them."""

from __future__ import annotations

import math

import numpy as np

from headway.core.errors import ConfigError


def arrivals(num: int, rate_per_s: float, burstiness: float, rng: np.random.Generator) -> list[float]:
    """Draw the sending times of `num` requests, in seconds since the start, non-decreasing.

    Parameters
    ----------
    num : int
        How many, >= 0.
    rate_per_s : float
        Requests per second, > 0; infinity sends all at once.
    burstiness : float
        Shape of the gamma distribution of the gaps, > 0: 1 is a Poisson process, less is burstier, infinity is even.
    rng : numpy.random.Generator
        The dice.

    Notes
    -----
    Times are scaled so that the last request falls at ``num / rate_per_s``: two seeds then offer exactly the same rate.
    """
    if not rate_per_s > 0:
        raise ConfigError(f"bench: --request-rate must be > 0 or inf, got {rate_per_s}. Try 1.")
    if not burstiness > 0:
        raise ConfigError(f"bench: --burstiness must be > 0, got {burstiness}. Try 1, a Poisson process.")
    if math.isinf(rate_per_s) or num == 0:
        return [0.0] * num
    gaps = np.ones(num) if math.isinf(burstiness) else rng.gamma(shape=burstiness, scale=1.0, size=num)
    times = np.cumsum(gaps)
    return [float(t) for t in times * (num / rate_per_s / times[-1])]
