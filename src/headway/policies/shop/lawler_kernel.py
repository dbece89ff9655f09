"""Compiled decomposition for the total tardiness of one machine, with a memory of what has been solved.

Jobs are numbered by due date (of equal ones the shorter first) and ranked by duration (of equal ones the later due is
the longer). A subproblem is all jobs of a range of numbers whose rank is below a bound, and when they may start.
"""

# numba has no types
# mypy: allow-untyped-decorators, no-warn-return-any

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.numerics.jit import njit

Ints = NDArray[np.int64]
SPENT = -2
"""Returned when the steps are used up; what has been solved is remembered."""
MOST_JOBS = 1024
"""A subproblem's key has room for no more."""


@njit(cache=True)
def _slot(keys: Ints, key: int) -> int:
    """Return where a key is or belongs; -1 when the memory is too full there."""
    mask = len(keys) - 1
    slot = ((key * 0x1E3779B97F4A7C15) >> 20) & mask
    for _ in range(64):
        if keys[slot] == key or keys[slot] == -1:
            return slot
        slot = (slot + 1) & mask
    return -1


@njit(cache=True)
def _range(p: Ints, d: Ints, rank: Ints, low: int, high: int, below: int, begin: int) -> tuple[int, int, int, int, int]:
    """Return first, last and longest job of a subproblem, how many are late by due date, and by how much in all."""
    first, last, longest, late, cost, end = -1, -1, -1, 0, 0, begin
    for j in range(low, high + 1):
        if rank[j] < below:
            end += p[j]
            if end > d[j]:
                late += 1
                cost += end - d[j]
            if first < 0:
                first = j
            last = j
            if longest < 0 or rank[j] > rank[longest]:
                longest = j
    return first, last, longest, late, cost


@njit("i8(i8[:], i8[:], i8[:], i8, i8, i8, i8, i8[:], i8[:, :], i8[:])", cache=True)
def _solve(  # noqa: C901 - it calls itself, and must be one function for the compiler
    p: Ints, d: Ints, rank: Ints, low: int, high: int, below: int, begin: int, keys: Ints, found: Ints, state: Ints
) -> int:
    """Return the least tardiness of a subproblem, and in ``state[1]`` the job after which its longest one goes.

    ``state[0]`` is how many steps are left. ``state[1]`` is -1 where the order by due dates is best.
    """
    first, last, longest, late, cost = _range(p, d, rank, low, high, below, begin)
    state[1] = -1
    if late <= 1:  # an order by due dates with one late job at most is optimal (Emmons)
        return cost
    key = ((begin * MOST_JOBS + first) * MOST_JOBS + last) * MOST_JOBS + longest
    slot = _slot(keys, key)
    if slot >= 0 and keys[slot] == key:
        state[1] = found[slot, 1]
        return found[slot, 0]
    state[0] -= 1
    if state[0] < 0:
        return SPENT
    end = begin
    for j in range(first, longest + 1):
        if rank[j] < below:
            end += p[j]
    best, best_place, place, latest = -1, -1, longest, -1
    while True:
        follower = place + 1
        while follower <= last and rank[follower] >= below:
            follower += 1
        # The longest goes after `place` and ends at `end`: never where the next one would be late already (it should
        # go on), nor where one that is due later and goes before could follow it in time (it should go back).
        if end >= latest and (follower > last or end < d[follower]):
            value = max(end - d[longest], 0)
            if best < 0 or value < best:
                part = _solve(p, d, rank, first, place, rank[longest], begin, keys, found, state)
                if part < 0:
                    return SPENT
                value += part
            if (best < 0 or value < best) and follower <= last:
                part = _solve(p, d, rank, follower, last, rank[longest], end, keys, found, state)
                if part < 0:
                    return SPENT
                value += part
            if best < 0 or value < best:
                best, best_place = value, place
        if follower > last:
            break
        place = follower
        end += p[place]
        latest = max(latest, d[place] + p[place])
    slot = _slot(keys, key)
    if slot >= 0:
        keys[slot], found[slot, 0], found[slot, 1] = key, best, best_place
    state[1] = best_place
    return best


@njit(cache=True)
def solve(p: Ints, d: Ints, rank: Ints, begin: int, keys: Ints, found: Ints, steps: int) -> int:
    """Return the least total tardiness, or `SPENT`; `keys` (of a power of two, -1 at first) and `found` remember."""
    state = np.array([steps, -1])
    return _solve(p, d, rank, 0, len(p) - 1, len(p), begin, keys, found, state)


@njit(cache=True)
def order(p: Ints, d: Ints, rank: Ints, begin: int, keys: Ints, found: Ints) -> Ints:
    """Return an order of the least total tardiness, once `solve` has found that."""
    n = len(p)
    jobs, num = np.empty(n, np.int64), 0
    state = np.array([np.iinfo(np.int64).max, -1])
    todo = [(0, n - 1, n, begin, -1)]  # what comes first lies on top; a single job is its number in the last place
    while todo:
        low, high, below, start, single = todo.pop()
        if single >= 0:
            jobs[num] = single
            num += 1
            continue
        _, last, longest, _, _ = _range(p, d, rank, low, high, below, start)
        if longest < 0:
            continue
        _solve(p, d, rank, low, high, below, start, keys, found, state)
        place, end = state[1], start
        for j in range(low, high + 1):
            if rank[j] < below and (place < 0 or j <= place):
                end += p[j]
                if place < 0:
                    jobs[num] = j
                    num += 1
        if place >= 0:
            todo.append((place + 1, last, rank[longest], end, -1))
            todo.append((0, 0, 0, 0, longest))
            todo.append((low, place, rank[longest], start, -1))
    return jobs
