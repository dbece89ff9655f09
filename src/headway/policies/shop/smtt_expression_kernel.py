"""Compiled sequencing by an expression: at each step the job for which it is least goes next."""

# numba has no types
# mypy: allow-untyped-decorators, no-warn-return-any

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.numerics.jit import njit

P, D, T, LONGEST, MEAN, CONSTANT, ADD, SUB, MUL, DIV, MAX, MIN, SQUARE = range(13)
"""Words of the language, in postfix: what is known, then operators."""
MOST = 64
"""An expression has no more words."""


@njit(cache=True)
def least_first(
    words: NDArray[np.int64], values: NDArray[np.float64], p: NDArray[np.float64], d: NDArray[np.float64], begin: float
) -> NDArray[np.int64]:
    """Sequence jobs, sorted as ties are to be broken, by an expression; `values` are those of its constants."""
    n = len(p)
    order = np.empty(n, np.int64)
    places = np.arange(n)
    left_p, left_d = p.copy(), d.copy()
    stack = np.empty((MOST, n))
    t, total = begin, p.sum()
    for k in range(n):
        num = n - k
        best = 0
        if num > 1:
            _evaluate(words, values, left_p[:num], left_d[:num], t, total / num, stack)
            for i in range(1, num):
                if stack[0, i] < stack[0, best]:
                    best = i
        order[k] = places[best]
        t += left_p[best]
        total -= left_p[best]
        for i in range(best, num - 1):
            places[i], left_p[i], left_d[i] = places[i + 1], left_p[i + 1], left_d[i + 1]
    return order


@njit(cache=True)
def _evaluate(  # noqa: C901 - one branch per word
    words: NDArray[np.int64],
    values: NDArray[np.float64],
    p: NDArray[np.float64],
    d: NDArray[np.float64],
    t: float,
    mean: float,
    stack: NDArray[np.float64],
) -> None:
    n = len(p)
    top = -1
    for k in range(len(words)):
        word = words[k]
        if word <= CONSTANT:
            top += 1
            if word == P:
                stack[top, :n] = p
            elif word == D:
                stack[top, :n] = d
            elif word == T:
                stack[top, :n] = t
            elif word == LONGEST:
                stack[top, :n] = p.max()
            elif word == MEAN:
                stack[top, :n] = mean
            else:
                stack[top, :n] = values[k]
            continue
        if word == SQUARE:
            for i in range(n):
                stack[top, i] *= stack[top, i]
            continue
        top -= 1
        for i in range(n):
            a, b = stack[top, i], stack[top + 1, i]
            if word == ADD:
                a += b
            elif word == SUB:
                a -= b
            elif word == MUL:
                a *= b
            elif word == DIV:
                a = a / b if abs(b) > 1e-9 else a
            elif word == MAX:
                a = max(a, b)
            else:
                a = min(a, b)
            stack[top, i] = a


@njit(cache=True)
def mean_tardiness(
    words: NDArray[np.int64], values: NDArray[np.float64], p: NDArray[np.float64], d: NDArray[np.float64]
) -> float:
    """Return the mean total tardiness of the expression over instances ``[instances, jobs]``, each sorted for ties."""
    total = 0.0
    for k in range(len(p)):
        order = least_first(words, values, p[k], d[k], 0.0)
        t = 0.0
        for j in order:
            t += p[k, j]
            total += max(t - d[k, j], 0.0)
    return total / max(len(p), 1)
