"""Compiled decoder: tasks in an order of priority become links, each as long as what is left lets it be.

The same function runs as plain Python through its ``py_func``: what a decoder that is not compiled takes.
"""

# numba has no types
# mypy: allow-untyped-decorators, no-warn-return-any

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.numerics.jit import njit

Ints = NDArray[np.int64]


@njit(cache=True)
def _after(ends: Ints, num: int, at: int) -> int:
    """Return the first of the spans, sorted and apart, that ends after a time."""
    low, high = 0, num
    while low < high:
        middle = (low + high) // 2
        if ends[middle] > at:
            high = middle
        else:
            low = middle + 1
    return low


@njit(cache=True)
def _put(starts: Ints, ends: Ints, num: int, start: int, end: int) -> int:
    """Enter a span among sorted ones; returns its place."""
    place = num
    while place > 0 and starts[place - 1] > start:
        starts[place], ends[place] = starts[place - 1], ends[place - 1]
        place -= 1
    starts[place], ends[place] = start, end
    return place


@njit(cache=True)
def _limit(  # noqa: C901 - a call of another compiled function per obstacle would cost more than the obstacle
    antennas: Ints,
    start: int,
    least: int,
    end: int,
    setup: int,
    teardown: int,
    mode: int,
    satellite: int,
    taken: NDArray[np.int64],
    num_taken: Ints,
    fed: NDArray[np.int64],
    num_fed: Ints,
    switch: NDArray[np.int64],
) -> tuple[int, int]:
    """Return (start, end) of the first link from `start` on that has the least length; an end of -1 for none."""
    while start + least <= end:
        latest, earliest = end, start
        for antenna in antennas:
            if antenna < 0:
                break
            k = _after(taken[antenna, 1], num_taken[antenna], start - setup)
            if k < num_taken[antenna]:
                if taken[antenna, 0, k] < start + least + teardown:
                    earliest = max(earliest, taken[antenna, 1, k] + setup)
                else:
                    latest = min(latest, taken[antenna, 0, k] - teardown)
        if len(switch):
            for k in range(num_fed[satellite]):
                before = fed[satellite, 1, k] + switch[fed[satellite, 2, k], mode]
                after = fed[satellite, 0, k] - switch[mode, fed[satellite, 2, k]]
                if before > start:
                    if after < start + least:
                        earliest = max(earliest, before)
                    else:
                        latest = min(latest, after)
        if earliest == start:
            return start, latest
        start = earliest
    return start, -1


@njit(cache=True)
def decode(
    order: Ints,
    first_window: Ints,
    windows: NDArray[np.int64],
    antennas: NDArray[np.int64],
    tasks: NDArray[np.int64],
    switch: NDArray[np.int64],
    now: int,
    taken: NDArray[np.int64],
    num_taken: Ints,
    fed: NDArray[np.int64],
    num_fed: Ints,
    found: NDArray[np.int64],
) -> int:
    """Return how long links last in all, and fill `found` with (window, start, end) by task; a window of -1 for none.

    Of a task, `tasks` holds (least, most, setup, teardown, mode, satellite); of a window, `windows` holds (start, end)
    and `antennas` its antennas, filled up with -1. `taken` and `fed` are written to.
    """
    total = 0
    found[:, 0] = -1
    for task in order:
        least, most, setup, teardown, mode, satellite = tasks[task]
        best, best_start, best_window = 0, 0, -1
        for window in range(first_window[task], first_window[task + 1]):
            start, end = max(windows[window, 0], now + setup), windows[window, 1]
            while best < most and start + max(least, best + 1) <= end:
                wanted = max(least, best + 1)
                start, latest = _limit(
                    antennas[window], start, wanted, end, setup, teardown, mode, satellite,
                    taken, num_taken, fed, num_fed, switch,
                )  # fmt: skip
                if latest < 0:
                    break
                best, best_start, best_window = min(latest - start, most), start, window
        if best_window < 0:
            continue
        finish = best_start + best
        found[task, 0], found[task, 1], found[task, 2] = best_window, best_start, finish
        total += best
        for antenna in antennas[best_window]:
            if antenna >= 0:
                _put(taken[antenna, 0], taken[antenna, 1], num_taken[antenna], best_start - setup, finish + teardown)
                num_taken[antenna] += 1
        if len(switch):
            place = _put(fed[satellite, 0], fed[satellite, 1], num_fed[satellite], best_start, finish)
            for k in range(num_fed[satellite], place, -1):
                fed[satellite, 2, k] = fed[satellite, 2, k - 1]
            fed[satellite, 2, place] = mode
            num_fed[satellite] += 1
    return total


@njit(cache=True)
def decode_all(
    orders: NDArray[np.int64],
    first_window: Ints,
    windows: NDArray[np.int64],
    antennas: NDArray[np.int64],
    tasks: NDArray[np.int64],
    switch: NDArray[np.int64],
    now: int,
    taken: NDArray[np.int64],
    num_taken: Ints,
    fed: NDArray[np.int64],
    num_fed: Ints,
    found: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return of each order how long links last in all; nothing is written to but `found`."""
    seconds = np.empty(len(orders))
    for k in range(len(orders)):
        seconds[k] = decode(
            orders[k], first_window, windows, antennas, tasks, switch, now,
            taken.copy(), num_taken.copy(), fed.copy(), num_fed.copy(), found,
        )  # fmt: skip
    return seconds
