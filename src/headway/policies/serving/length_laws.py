"""How long an output may become: laws of lengths, given that it is longer than what there is of it already."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Protocol

import numpy as np

NORMAL = NormalDist()
TINY = 1e-9


class LengthLaw(Protocol):
    """What is thought of the length of one output, in tokens."""

    def mean(self, above: int) -> float:
        """Return the mean of those lengths that exceed `above`."""

    def quantile(self, share: float, above: int) -> float:
        """Return the quantile, at a share in (0, 1), of those lengths that exceed `above`."""


class Certain:
    """One length and no doubt.

    Parameters
    ----------
    tokens : float
        The length.
    """

    def __init__(self, tokens: float) -> None:
        self.tokens = tokens

    def mean(self, above: int) -> float:
        """Return the length; one token more than there is when that is past it."""
        return max(self.tokens, above + 1.0)

    def quantile(self, share: float, above: int) -> float:
        """Return the length; one token more than there is when that is past it."""
        return self.mean(above)


class Seen:
    """Lengths like those that were seen.

    An output that is longer than all of them is taken to go on for as long again as it has gone on past their middle.

    Parameters
    ----------
    lengths : sequence of int
        At least one.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self._sorted = np.sort(np.asarray(lengths, np.float64))
        self._sums = np.concatenate([[0.0], np.cumsum(self._sorted)])

    def mean(self, above: int) -> float:
        """Return the mean of those lengths that exceed `above`."""
        first, num = self._first(above), len(self._sorted)
        return float(self._sums[num] - self._sums[first]) / (num - first) if first < num else self._beyond(above)

    def quantile(self, share: float, above: int) -> float:
        """Return the quantile of those lengths that exceed `above`."""
        first, num = self._first(above), len(self._sorted)
        if first == num:
            return self._beyond(above)
        return float(self._sorted[first + min(int(share * (num - first)), num - first - 1)])

    def _first(self, above: int) -> int:
        return int(np.searchsorted(self._sorted, above, side="right")) if above else 0

    def _beyond(self, above: int) -> float:
        return above + max(1.0, above - float(self._sorted[len(self._sorted) // 2]))


class LogNormalLaw:
    """Lengths whose logarithms are normal.

    Parameters
    ----------
    centre : float
        Mean of the logarithm.
    sigma : float
        Its standard deviation, >= 0.
    """

    def __init__(self, centre: float, sigma: float) -> None:
        self.centre = centre
        self.sigma = max(sigma, TINY)

    def mean(self, above: int) -> float:
        """Return the mean of those lengths that exceed `above`."""
        whole = math.exp(min(self.centre + self.sigma**2 / 2, 50.0))
        if above < 1:
            return whole
        at = (math.log(above) - self.centre) / self.sigma
        left = NORMAL.cdf(-at)
        return whole * NORMAL.cdf(self.sigma - at) / left if left > TINY else above * (1 + self.sigma)

    def quantile(self, share: float, above: int) -> float:
        """Return the quantile of those lengths that exceed `above`."""
        past = NORMAL.cdf((math.log(above) - self.centre) / self.sigma) if above >= 1 else 0.0
        at = past + (1 - past) * share
        if at > 1 - TINY:
            return above * (1 + self.sigma)
        return math.exp(min(self.centre + self.sigma * NORMAL.inv_cdf(max(at, TINY)), 50.0))
