"""For how long the memory of a conversation is worth keeping while a tool is at work, from what was seen before."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

import numpy as np
from numpy.typing import NDArray

from headway.core.nouns import Seconds


class ToolTimes:
    """How long tools were at work, and the time to live that follows.

    Parameters
    ----------
    min_samples : int
        More samples than these of one tool speak for themselves; of all tools together, if there are not so many of
        one; >= 0.
    max_samples : int
        The oldest are forgotten beyond so many of a tool, >= 1.
    """

    def __init__(self, min_samples: int, max_samples: int) -> None:
        self._min_samples = min_samples
        self._all = _Samples(max_samples)
        self._of: dict[str, _Samples] = {}
        self._max_samples = max_samples

    def learn(self, tool: str, took_s: Seconds) -> None:
        """Note how long a tool was at work: from the end of a turn to the arrival of the next."""
        self._all.add(took_s)
        self._of.setdefault(tool, _Samples(self._max_samples)).add(took_s)

    def ttl_s(self, tool: str, benefit_s: Seconds, default_s: Seconds | None = None) -> Seconds:
        """Return for how long memory is best kept for the return from a tool, in seconds, >= 0.

        It is the time t that makes P(tool is over within t) x benefit - t largest, among 0 and what was seen.

        Parameters
        ----------
        tool : str
            Its name.
        benefit_s : float
            How much time is saved if the memory is still there, in seconds.
        default_s : float or None
            What is answered as long as too little was seen; None takes what is best for exponential times of mean 1 s.
        """
        own = self._of.get(tool)
        known = own if own is not None and len(own) > self._min_samples else self._all
        if len(known) > self._min_samples:
            return known.best_s(benefit_s)
        if default_s is not None:
            return default_s
        return max(0.0, math.log(benefit_s)) if benefit_s > 0 else 0.0


class _Samples:
    """The latest samples, in order of size too."""

    def __init__(self, most: int) -> None:
        self._latest: deque[Seconds] = deque()
        self._sorted: list[Seconds] = []
        self._most = most
        self._as_array: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, took_s: Seconds) -> None:
        self._latest.append(took_s)
        insort(self._sorted, took_s)
        self._as_array = None
        if len(self._latest) > self._most:
            del self._sorted[bisect_left(self._sorted, self._latest.popleft())]

    def best_s(self, benefit_s: Seconds) -> Seconds:
        if self._as_array is None:
            self._as_array = np.array(self._sorted)
        times = self._as_array
        gains = np.arange(1, len(times) + 1) / len(times) * benefit_s
        scores = np.where(times > 0, gains - times, 0.0)  # what is kept for no time is not there for anybody
        best = int(np.argmax(scores))
        return float(times[best]) if scores[best] > 0 else 0.0


class Progress:
    """Whether progress tells how much is left: 1 when all programs have equally many turns, 0 when it tells nothing.

    Parameters
    ----------
    max_programs : int
        The oldest of the programs that ended are forgotten beyond so many, >= 1.
    """

    def __init__(self, max_programs: int) -> None:
        self._latest: deque[int] = deque()
        self._max_programs = max_programs
        self._sums = np.zeros(6)

    def learn(self, turns: int) -> None:
        """Note how many turns a program had that has ended, >= 1."""
        self._latest.append(turns)
        self._sums += _sums(turns)
        if len(self._latest) > self._max_programs:
            self._sums -= _sums(self._latest.popleft())

    @property
    def eta(self) -> float:
        """Minus the correlation between turns done and turns left, in [-1, 1]; 1 while nothing speaks against it."""
        num, done, left, done2, left2, both = self._sums.tolist()
        spread = (num * done2 - done**2) * (num * left2 - left**2)
        return (done * left - num * both) / math.sqrt(spread) if spread > 0 else 1.0


def _sums(turns: int) -> NDArray[np.float64]:
    """Return, over k = 1 .. turns, the sums of 1, k, turns - k, their squares, and their product."""
    n = float(turns)
    done2 = n * (n + 1) * (2 * n + 1) / 6
    return np.array(
        [n, n * (n + 1) / 2, n * (n - 1) / 2, done2, (n - 1) * n * (2 * n - 1) / 6, n * n * (n + 1) / 2 - done2]
    )
