"""The largest load that a setting carries, by a search that stops early."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from headway.app.studies.trial import Verdict
from headway.core.errors import ConfigError

SMALLEST = 2.0**-10
"""Below this share of the first load that was tried the search gives up."""


class Point(Struct, frozen=True, kw_only=True):
    """One load that was tried."""

    load: float
    verdict: Verdict


class Capacity(Struct, frozen=True, kw_only=True):
    """What a search found.

    Parameters
    ----------
    load : float or None
        The largest load that passed; None when none did.
    fails_at : float or None
        The smallest load that failed; None when none did, so that `load` may be far from the largest.
    points : list of Point
        All that was tried, in that order.
    """

    load: float | None
    fails_at: float | None
    points: list[Point]

    @property
    def best(self) -> Verdict | None:
        """What came of the largest load that passed."""
        return next((point.verdict for point in self.points if point.load == self.load), None)


def largest_load(
    attempt: Callable[[float], Verdict],
    *,
    start: float = 1.0,
    max_load: float = 8.0,
    tolerance_frac: float = 0.02,
    on_point: Callable[[Point], None] | None = None,
) -> Capacity:
    """Find the largest load that passes: first between two powers of two, then by halving the ratio.

    It takes the share of good requests to fall as the load grows.

    Parameters
    ----------
    attempt : callable of (load) -> Verdict
        Tries a load.
    start : float
        The first, > 0; 1.
    max_load : float
        None beyond this is tried, > 0; 8.
    tolerance_frac : float
        The search ends when what passes and what fails are within this share of each other, > 0; 0.02.
    on_point : callable or None
        Told of every load that was tried.

    Raises
    ------
    ConfigError
        When a number is out of its range.
    """
    if not start > 0 or not max_load > 0 or not tolerance_frac > 0:
        got = f"start={start}, max_load={max_load}, tolerance_frac={tolerance_frac}"
        raise ConfigError(f"plan: loads and tolerance_frac must be > 0, got {got}. Try max_load = 8.")
    points: list[Point] = []

    def passes(load: float) -> bool:
        points.append(Point(load=load, verdict=attempt(load)))
        if on_point is not None:
            on_point(points[-1])
        return points[-1].verdict.passed

    low, high = _bracket(passes, min(start, max_load), max_load)
    while low is not None and high is not None and high / low - 1 > tolerance_frac:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if passes(middle) else (low, middle)
    return Capacity(load=low, fails_at=high, points=points)


def _bracket(passes: Callable[[float], bool], start: float, max_load: float) -> tuple[float | None, float | None]:
    """Return a load that passes and the next that fails, as far as there are such."""
    if passes(start):
        low = start
        while low < max_load:
            load = min(2 * low, max_load)
            if not passes(load):
                return low, load
            low = load
        return low, None
    high = start
    while high > SMALLEST * start:
        if passes(high / 2):
            return high / 2, high
        high /= 2
    return None, high
