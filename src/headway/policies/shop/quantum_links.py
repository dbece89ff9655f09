"""What a fibre can do: pairs of better fidelity come at a lower rate, and longer fibres are slower.

Ten settings per length, evenly spaced between the ends that are published for 5, 10 and 50 km (fidelity .877 at the
lowest rate, .488 at the highest: both move in proportion to how bright the source is set). Between lengths, and beyond
them, rates are drawn out evenly on logarithmic scales.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError

BEST, WORST = 0.877, 0.488
NUM_SETTINGS = 10
RATES_PER_S = {5.0: (14.16, 75.65), 10.0: (7.79, 37.79), 50.0: (1.66, 8.63)}
"""By length in km, the rates at the best and at the worst fidelity."""


class Setting(Struct, frozen=True):
    """One way to run a fibre: the fidelity of its pairs, and how many come per second."""

    fidelity: float
    rate_per_s: float


@functools.lru_cache(maxsize=4096)
def settings(length_km: float) -> tuple[Setting, ...]:
    """Return what a fibre can do, the best fidelity first.

    Raises
    ------
    ConfigError
        When the length is not > 0.
    """
    if not length_km > 0:
        raise ConfigError(f"fibre: length_km must be > 0, got {length_km}. Give it a length.")
    slow, fast = (_rate(length_km, end) for end in (0, 1))
    return tuple(
        Setting(BEST + (WORST - BEST) * nth / (NUM_SETTINGS - 1), slow + (fast - slow) * nth / (NUM_SETTINGS - 1))
        for nth in range(NUM_SETTINGS)
    )


def _rate(length_km: float, end: int) -> float:
    lengths = np.log(list(RATES_PER_S))
    rates = np.log([both[end] for both in RATES_PER_S.values()])
    at = math.log(length_km)
    place = min(max(int(np.searchsorted(lengths, at)), 1), len(lengths) - 1)  # beyond the ends: the last slope
    slope = (rates[place] - rates[place - 1]) / (lengths[place] - lengths[place - 1])
    return float(math.exp(rates[place - 1] + slope * (at - lengths[place - 1])))
