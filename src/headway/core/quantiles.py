"""Quantiles in constant memory, for numbers that never stop coming."""

from __future__ import annotations

import math
from collections.abc import Iterable

from headway.core.errors import ConfigError


class Quantiles:
    """A histogram with logarithmic buckets: any quantile of non-negative numbers to a relative error.

    Parameters
    ----------
    error_frac : float
        Largest relative error of a reported quantile, in (0, 1); 0.01 by default.

    Notes
    -----
    Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
    2019, arXiv 1908.10693, section 2 (the basic sketch, without collapsing: the number of buckets is bounded by the
    range of the numbers, about 2,100 for 1 ns to 30 years at 1%).

    Examples
    --------
    >>> q = Quantiles()
    >>> for x in range(1, 101):
    ...     q.add(float(x))
    >>> abs(q.at(0.5) - 50) < 1
    True
    """

    def __init__(self, error_frac: float = 0.01) -> None:
        if not 0 < error_frac < 1:
            raise ConfigError(f"Quantiles: error_frac must be in (0, 1), got {error_frac}. Try 0.01.")
        self.error_frac = error_frac
        self.count = 0
        self.total = 0.0
        self.max = 0.0
        self._ratio = (1 + error_frac) / (1 - error_frac)
        self._scale = 1 / math.log(self._ratio)
        self._buckets: dict[int, int] = {}
        self._zeros = 0

    def add(self, value: float, times: int = 1) -> None:
        """Count one number, >= 0, as often as it was seen."""
        self.count += times
        self.total += value * times
        if value > self.max:
            self.max = value
        if value <= 0.0:
            self._zeros += times
            return
        bucket = math.ceil(math.log(value) * self._scale)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + times

    def add_all(self, values: Iterable[float], times: int = 1) -> None:
        """Count many numbers that are much like each other, each as often as it was seen."""
        low = high = 0.0  # the bounds of the bucket of the number before
        bucket = num = 0
        for value in values:
            if not low < value <= high:
                self._count(bucket, num)
                if value <= 0.0:
                    self.add(value, times)
                    low = high = 0.0
                    num = 0
                    continue
                bucket, num = math.ceil(math.log(value) * self._scale), 0
                high = self._ratio**bucket
                low = high / self._ratio
            num += times
            self.count += times
            self.total += value * times
            if value > self.max:
                self.max = value
        self._count(bucket, num)

    def _count(self, bucket: int, times: int) -> None:
        if times:
            self._buckets[bucket] = self._buckets.get(bucket, 0) + times

    @property
    def mean(self) -> float:
        """The exact mean, or NaN when nothing was counted."""
        return self.total / self.count if self.count else math.nan

    def at(self, quantile: float) -> float:
        """Return the number that a share `quantile` of all numbers do not exceed, or NaN when there are none."""
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(quantile * self.count)) - self._zeros
        if rank <= 0:
            return 0.0
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                middle: float = 2 * self._ratio**bucket / (self._ratio + 1)
                return min(middle, self.max)
        return self.max
