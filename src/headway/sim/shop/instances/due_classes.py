"""Made-up instances of one machine with due dates, in classes of tightness and spread."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

TARDINESS = (0.2, 0.4, 0.6, 0.8)
"""The share of jobs that a random order makes late, roughly."""
SPREADS = (0.2, 0.4, 0.6, 0.8, 1.0)
"""How far apart due dates are, as a share of the whole work."""

Floats = NDArray[np.float64]


def generated(
    num_jobs: int,
    tardiness: float,
    spread: float,
    rng: np.random.Generator,
    law: Literal["uniform", "normal"] = "uniform",
) -> tuple[Floats, Floats]:
    """Draw durations and due dates of one instance, whole numbers.

    Parameters
    ----------
    num_jobs : int
        How many, >= 1.
    tardiness, spread : float
        Its class: due dates are uniform within ``P (1 - tardiness -+ spread / 2)``, P the whole work, and not below 0.
    rng : numpy.random.Generator
        For all that is drawn.
    law : str
        Durations are uniform in 1..100, or normal with mean 60 and deviation 20, at least 1.
    """
    if law == "uniform":
        durations = rng.integers(1, 101, num_jobs).astype(np.float64)
    else:
        durations = np.maximum(np.round(rng.normal(60.0, 20.0, num_jobs)), 1.0)
    total = durations.sum()
    low, high = total * (1 - tardiness - spread / 2), total * (1 - tardiness + spread / 2)
    return durations, np.maximum(np.round(rng.uniform(low, high, num_jobs)), 0.0)


def class_of(number: int, hardest: bool = False) -> tuple[float, float]:
    """Return tardiness and spread of the class that a running number falls into; `hardest` adds tardiness 1."""
    levels = (*TARDINESS, 1.0) if hardest else TARDINESS
    return levels[number // len(SPREADS) % len(levels)], SPREADS[number % len(SPREADS)]
