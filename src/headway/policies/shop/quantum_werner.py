"""What becomes of entangled pairs: fidelities of Werner states through swaps and distillation.

A Werner state is told by its fidelity alone, from 1/4 (noise) to 1 (perfect). All of it is arithmetic of published
formulas, with perfect gates.
"""

from __future__ import annotations

import math

from headway.core.errors import ConfigError

NOISE = 0.25
"""The fidelity of a pair that is not entangled at all."""


def swapped(one: float, other: float) -> float:
    """Return the fidelity of the pair that a swap makes of two.

    Examples
    --------
    >>> swapped(1.0, 0.9)
    0.9
    """
    return round(4 / 3 * one * other - (one + other) / 3 + 1 / 3, 12)


def unswapped(fidelity: float) -> float:
    """Return the fidelity that two equal pairs must have for their swap to have `fidelity`.

    Examples
    --------
    >>> round(swapped(unswapped(0.8), unswapped(0.8)), 9)
    0.8
    """
    if not NOISE <= fidelity <= 1:
        raise ConfigError(f"fidelity: must be in [0.25, 1], got {fidelity}. Pairs of less are noise.")
    return (1 + math.sqrt(12 * fidelity - 3)) / 4


def distilled(one: float, other: float) -> tuple[float, float]:
    """Return the fidelity of the pair that is left when one of two is spent to better the other, and how likely it is.

    Examples
    --------
    >>> fidelity, success = distilled(0.8, 0.8)
    >>> round(fidelity, 3), round(success, 3)
    (0.838, 0.769)
    """
    both, bad, other_bad = one * other, (1 - one) / 3, (1 - other) / 3
    success = both + one * other_bad + other * bad + 5 * bad * other_bad
    return (both + bad * other_bad) / success, success


def pumped(fidelity: float, times: int) -> float:
    """Return the fidelity of a pair that is distilled with `times` fresh pairs of its own first fidelity in turn."""
    found = fidelity
    for _ in range(times):
        found = distilled(found, fidelity)[0]
    return found


def unpumped(fidelity: float, times: int) -> float | None:
    """Return the least fidelity from which `times` fresh pairs pump up to `fidelity`; None when there is none."""
    low, high = 0.5, 1.0
    if pumped(high, times) < fidelity:
        return None
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if pumped(middle, times) >= fidelity else (middle, high)
    return high
