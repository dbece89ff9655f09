"""Spans of time that hold more work than they have room for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headway.traces.table import Floats, Ints

MAX_STARTS = 1500
"""So many starts of spans are looked at, at most; any choice of them leaves a bound."""


@dataclass(frozen=True)
class Jobs:
    """Work that has to lie within spans of time.

    Parameters
    ----------
    owner : array of int, `[jobs]`
        Whose it is.
    release_s, due_s : array of float, `[jobs]`
        It cannot be done before the one and is of no use after the other.
    cost : array of float, `[jobs]`
        How much of the capacity it takes, in seconds.
    """

    owner: Ints
    release_s: Floats
    due_s: Floats
    cost: Floats

    def __post_init__(self) -> None:
        """Nothing but arrays of one length."""
        assert len(self.owner) == len(self.release_s) == len(self.due_s) == len(self.cost)


@dataclass(frozen=True)
class Span:
    """A span of time, and the jobs that lie within it as a whole."""

    jobs: Ints
    length_s: float
    excess_s: float


def overfull(jobs: Jobs, taken: Floats, capacity: float, *, least_s: float, most: int = 150) -> list[Span]:
    """Return the spans whose work is most beyond their room, at most one for each start.

    Parameters
    ----------
    jobs : Jobs
        What work there is.
    taken : array of float, `[owners]`
        The share of each owner's work that is done, in [0, 1].
    capacity : float
        How much can be done per second, > 0.
    least_s : float
        Spans whose excess is below this share of their room are left out, >= 0.
    most : int
        How many are returned at most, >= 1.
    """
    by_due = np.argsort(jobs.due_s, kind="stable")
    release_s, due_s = jobs.release_s[by_due], jobs.due_s[by_due]
    load = (jobs.cost * taken[jobs.owner])[by_due]
    found = sorted(_by_start(release_s, due_s, load, capacity, least_s), reverse=True)[:most]
    return [
        Span(by_due[np.flatnonzero((release_s >= start_s) & (due_s <= end_s))], end_s - start_s, excess)
        for excess, start_s, end_s in found
    ]


def _by_start(
    release_s: Floats, due_s: Floats, load: Floats, capacity: float, least_s: float
) -> Iterator[tuple[float, float, float]]:
    """Yield (excess, start, end) of the fullest span of each start."""
    starts = np.unique(release_s)
    if len(starts) > MAX_STARTS:
        starts = starts[np.linspace(0, len(starts) - 1, MAX_STARTS).astype(np.int64)]
    for start_s in starts.tolist():
        inside = np.cumsum(np.where(release_s >= start_s, load, 0.0))
        excess = inside - capacity * (due_s - start_s)
        excess[due_s <= start_s] = -np.inf
        # of several jobs due at one time the last has the whole sum
        place = int(np.argmax(excess))
        if excess[place] > least_s * max(capacity * (due_s[place] - start_s), 1e-9):
            yield float(excess[place]), start_s, float(due_s[place])
