"""Spans that may run at once, laid out in tracks where they do not overlap."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def nanoseconds(seconds: npt.NDArray[np.float64]) -> Ints:
    """Return times in whole nanoseconds: what ends when another begins does so exactly."""
    return np.rint(seconds * 1e9).astype(np.int64)


def lanes_apart(start: Ints, end: Ints) -> Ints:
    """Give every span the lowest lane that is free when it begins.

    Parameters
    ----------
    start, end : array of int, `[spans]`
        When they begin and end; `start` must not fall.

    Returns
    -------
    array of int, `[spans]`
        Their lanes, from 0; as many lanes as spans run at once at most.
    """
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    lanes = np.zeros(len(start), dtype=np.int64)
    for place, (low, high) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        while busy and busy[0][0] <= low:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (high, lane))
        lanes[place] = lane
    return lanes
