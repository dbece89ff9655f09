"""Compiled sequencing rules of one machine: arrays of durations and due dates in, an order out.

Jobs come sorted as their rule breaks ties, and of equal jobs the first goes first.
"""

# numba has no types
# mypy: allow-untyped-decorators, no-warn-return-any

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.numerics.jit import njit

MDD, MDDC, MDDC_PLAIN, WMDD, ATC = range(5)
"""The rules of `dispatched`."""
STRETCH = 1.1
"""By how much MDDC lengthens a job when it looks for its modified due date."""


@njit(cache=True)
def dispatched(
    rule: int,
    p: NDArray[np.float64],
    d: NDArray[np.float64],
    w: NDArray[np.float64],
    begin: float,
    scale: float,
) -> NDArray[np.int64]:
    """Sequence by a rule that looks at the clock: the least index goes next, O(n^2); `scale` is the unit of time."""
    n = len(p)
    left = np.arange(n)
    order = np.empty(n, np.int64)
    t, total = begin, p.sum()
    mean = total / max(n, 1)
    for k in range(n):
        num = n - k
        longest = 0.0
        for i in range(num):
            longest = max(longest, p[left[i]])
        best, least = 0, np.inf
        for i in range(num):
            j = left[i]
            if rule == MDD:
                index = max(t + p[j], d[j])
            elif rule == WMDD:
                index = max(p[j], d[j] - t) / w[j]
            elif rule == ATC:
                index = -w[j] / max(p[j], 1e-12) * np.exp(-max(d[j] - p[j] - t, 0.0) / (2.0 * max(mean, 1e-12)))
            else:
                index = max(STRETCH * p[j] + t, d[j])
                if rule == MDDC:
                    rho = p[j] / max(t + longest, 1e-12)
                    index *= 1.0 + rho * rho / (1.0 + rho * rho)
                index += scale * p[j] / max(t + total / num, 1e-12)
            if index < least:
                best, least = i, index
        chosen = left[best]
        order[k] = chosen
        t += p[chosen]
        total -= p[chosen]
        for i in range(best, num - 1):
            left[i] = left[i + 1]
    return order


@njit(cache=True)
def inserted(p: NDArray[np.float64], d: NDArray[np.float64], begin: float, printed: bool) -> NDArray[np.int64]:
    """Let each job in turn move forward past jobs that are due later: EDDC's pass, as printed or as reconstructed."""
    n = len(p)
    order = np.arange(n)
    ends = begin + np.cumsum(p)
    for i in range(n):
        for j in range(i, 0, -1):
            one, before = order[j], order[j - 1]
            if d[one] >= d[before]:
                break
            is_last, has_time = j == n - 1, d[before] > ends[j - 1]
            if (is_last and has_time) if printed else (is_last or has_time):
                order[j], order[j - 1] = before, one
                ends[j - 1] += p[one] - p[before]
    return order


@njit(cache=True)
def psk(p: NDArray[np.float64], d: NDArray[np.float64], begin: float) -> NDArray[np.int64]:
    """Panwalkar, Smith and Koulamas: from shortest first, look for a longer job that must not wait."""
    n = len(p)
    left = np.arange(n)
    order = np.empty(n, np.int64)
    t = begin
    for k in range(n):
        num = n - k
        active = 0
        place = 0
        while t + p[left[active]] < d[left[active]]:
            place += 1
            if place >= num or d[left[active]] <= t + p[left[place]]:
                break
            if d[left[active]] > d[left[place]]:
                active = place
        chosen = left[active]
        order[k] = chosen
        t += p[chosen]
        for i in range(active, num - 1):
            left[i] = left[i + 1]
    return order
