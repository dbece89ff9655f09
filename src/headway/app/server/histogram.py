"""A histogram that costs one binary search per number; `prometheus_client` only writes it down."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Counts of numbers in buckets.

    Parameters
    ----------
    bounds : sequence of float
        Upper bounds of the buckets, growing; a last one without bound is added.

    Examples
    --------
    >>> seen = Histogram([1, 10])
    >>> seen.add(1), seen.add(3, 2), seen.add(11)
    (None, None, None)
    >>> seen.cumulative(), seen.total
    ([('1', 1), ('10', 3), ('+Inf', 4)], 18.0)
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = list(bounds)
        self.total = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float, count: int = 1) -> None:
        """Count one number, `count` times."""
        self.total += value * count
        self._counts[bisect_left(self.bounds, value)] += count

    def cumulative(self) -> list[tuple[str, float]]:
        """How many numbers lie at or below each bound."""
        names = [f"{bound:g}" for bound in self.bounds] + ["+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))
