"""How many texts to generate when nobody knows how many will be kept."""

from __future__ import annotations

import math


def expected_frac(accepted: int, judged: int) -> float:
    """Guess the share of texts that will be kept: the mean after a uniform prior.

    Examples
    --------
    >>> expected_frac(0, 0), expected_frac(29, 98)
    (0.5, 0.3)
    """
    return (accepted + 1) / (judged + 2)


def draws_for(missing: int, frac: float) -> int:
    """Return how many texts bring `missing` that are kept in the mean, each with a chance of `frac` in (0, 1].

    Examples
    --------
    >>> draws_for(250, 0.3), draws_for(0, 0.5)
    (834, 0)
    """
    return math.ceil(max(0, missing) / frac)
