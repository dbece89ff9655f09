"""Operators of evolutionary search over permutations, each on a whole population at once.

A population is an array ``[individuals, places]`` whose rows are permutations of ``0 .. places - 1``. Nothing here
changes its arguments, and all randomness comes from the generator that is given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
"""Permutations, ``[individuals, places]``."""
Floats = NDArray[np.float64]


def random_permutations(num: int, size: int, rng: np.random.Generator) -> Rows:
    """Draw `num` permutations of `size` things; returns ``[num, size]``."""
    return rng.permuted(np.tile(np.arange(size, dtype=np.int64), (num, 1)), axis=1)


def order_crossover(one: Rows, other: Rows, begin: NDArray[np.int64], length: NDArray[np.int64]) -> Rows:
    """Cross rows in pairs: a segment of one parent stays in place, the rest keeps the order of the other parent.

    Parameters
    ----------
    one, other : array
        Parents, ``[individuals, places]``.
    begin, length : array
        Of the segment in each pair, ``[individuals]``; past the last place it goes on at the first. A length of 0
        gives the other parent.

    Returns
    -------
    array
        Children, ``[individuals, places]``.

    Examples
    --------
    >>> order_crossover(np.array([[0, 1, 2, 3, 4]]), np.array([[4, 3, 2, 1, 0]]), np.array([1]), np.array([2]))
    array([[4, 1, 2, 3, 0]])
    """
    places = np.arange(one.shape[1])
    kept = (places - begin[:, None]) % one.shape[1] < length[:, None]
    which = np.broadcast_to(np.arange(len(one))[:, None], one.shape)
    is_taken = np.zeros(one.shape, dtype=bool)
    is_taken[which[kept], one[kept]] = True
    children = one.copy()
    children[~kept] = other[~is_taken[which, other]]  # as many gaps as things left, row by row
    return children


def swapped(rows: Rows, rng: np.random.Generator) -> Rows:
    """Exchange two random places of each row."""
    first, second = _two_places(rows, rng)
    which = np.arange(len(rows))
    changed = rows.copy()
    changed[which, first], changed[which, second] = rows[which, second], rows[which, first]
    return changed


def with_reversal(rows: Rows, rng: np.random.Generator) -> Rows:
    """Reverse a random segment of each row."""
    low, high = np.sort(_two_places(rows, rng), axis=0)[:, :, None]
    places = np.arange(rows.shape[1])[None, :]
    source = np.where((places >= low) & (places <= high), low + high - places, places)
    return np.take_along_axis(rows, source, axis=1)


def with_insertion(rows: Rows, rng: np.random.Generator) -> Rows:
    """Take the thing at one random place of each row out, and put it in at another."""
    origin, target = np.stack(_two_places(rows, rng))[:, :, None]
    places = np.arange(rows.shape[1])[None, :]
    source = np.where((places >= origin) & (places < target), places + 1, places)
    source = np.where((places <= origin) & (places > target), places - 1, source)
    return np.take_along_axis(rows, np.where(places == target, origin, source), axis=1)


def tournament(fitness: Floats, num: int, rng: np.random.Generator, size: int = 2) -> NDArray[np.int64]:
    """Choose `num` individuals, each the fittest of `size` drawn ones; returns their places, ``[num]``."""
    drawn: NDArray[np.int64] = rng.integers(len(fitness), size=(num, size))
    best: NDArray[np.int64] = drawn[np.arange(num), fitness[drawn].argmax(axis=1)]
    return best


def roulette(fitness: Floats, num: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose `num` individuals with odds in proportion to their fitness above the least; returns places, ``[num]``."""
    above = fitness - fitness.min()
    total = above.sum()
    odds = above / total if total > 0 else None
    return rng.choice(len(fitness), size=num, p=odds)


def fittest(fitness: Floats, num: int) -> NDArray[np.int64]:
    """Return the places of the `num` fittest, best first; the earlier of two equals comes first.

    Over the fitness of parents followed by that of children it is the merge that never loses the best.
    """
    return np.argsort(-fitness, kind="stable")[:num]


def agreement(rows: Rows, known: Rows, weights: Floats) -> Floats:
    """How far permutations agree: the weight of the places at which they are equal, over that of all places.

    Parameters
    ----------
    rows, known : array
        ``[individuals, places]`` and ``[others, places]``.
    weights : array
        Of the places, each >= 0 and not all 0, ``[places]``.

    Returns
    -------
    array
        ``[individuals, others]``, each in [0, 1].
    """
    share = weights / weights.sum()
    return np.stack([(known == row) @ share for row in rows]) if len(rows) else np.empty((0, len(known)))


def _two_places(rows: Rows, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw two places for each row, different ones where there are two."""
    num, size = rows.shape
    first: NDArray[np.int64] = rng.integers(size, size=(num,))
    second: NDArray[np.int64] = (first + rng.integers(1, max(size, 2), size=(num,))) % size
    return first, second
