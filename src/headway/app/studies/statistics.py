"""Means with intervals over seeds, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from headway.core.errors import ConfigError


class Interval(Struct, frozen=True, kw_only=True):
    """A mean, and where the true mean lies with some confidence.

    Parameters
    ----------
    mean : float
        Of the values; NaN when there are none.
    half : float
        Half the width of the interval; NaN when there are fewer than two values, which have none.
    num : int
        How many values there were.
    """

    mean: float
    half: float
    num: int

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside; never so without an interval."""
        return not math.isnan(self.half) and (self.low > 0 or self.high < 0)


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the mean of independent values with its Student interval; values that do not exist (NaN) are left out.

    Examples
    --------
    >>> found = interval([1.0, 2.0, 3.0])
    >>> found.mean, round(found.half, 3)
    (2.0, 2.484)
    """
    there = [value for value in values if not math.isnan(value)]
    num = len(there)
    if not num:
        return Interval(mean=math.nan, half=math.nan, num=0)
    mean = math.fsum(there) / num
    if num < 2:
        return Interval(mean=mean, half=math.nan, num=num)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in there) / (num - 1))
    half = student_quantile((1 + confidence) / 2, num - 1) * spread / math.sqrt(num)
    return Interval(mean=mean, half=half, num=num)


def paired(values: Sequence[float], baseline: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the mean difference of values that belong together, such as those of equal seeds, with its interval."""
    return interval([one - other for one, other in zip(values, baseline, strict=True)], confidence)


def student_quantile(quantile: float, freedom: int) -> float:
    """Return a quantile of Student's distribution with a whole number of degrees of freedom.

    Parameters
    ----------
    quantile : float
        In (0, 1).
    freedom : int
        Degrees of freedom, >= 1.

    Notes
    -----
    The distribution function is a finite sum of powers of a cosine (Abramowitz and Stegun, *Handbook of Mathematical
    Functions*, 1964, equations 26.7.3 and 26.7.4); it is inverted by bisection over the angle.

    Examples
    --------
    >>> round(student_quantile(0.975, 4), 3)
    2.776
    """
    if not 0 < quantile < 1 or freedom < 1:
        raise ConfigError(f"student_quantile: quantile must be in (0, 1) and freedom >= 1, got {quantile}, {freedom}.")
    if quantile < 0.5:
        return -student_quantile(1 - quantile, freedom)
    low, high = 0.0, math.pi / 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if _within(middle, freedom) < 2 * quantile - 1 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _within(angle: float, freedom: int) -> float:
    """Return the probability of at most ``sqrt(freedom) * tan(angle)`` in size."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for power in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (power - 1) / power
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
