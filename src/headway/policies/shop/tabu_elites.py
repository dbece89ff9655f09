"""A few good and different orientations of a job shop, and new ones between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PAIRS = 50_000
"""More pairs of tasks than that are drawn from, not all compared."""
NEAR = 0.02
"""Two orientations that differ in a smaller share of pairs are one."""


class Elites:
    """Keeps the best orientations that differ.

    Source: B. Peng, Z. Lü, T. C. E. Cheng, "A tabu search/path relinking algorithm to solve the job shop scheduling
    problem", 2015, for the idea; new orientations are made in another way, see `between`.

    Parameters
    ----------
    machine : sequence of int
        Of each task.
    size : int
        How many to keep, >= 2.
    rng : numpy.random.Generator
        For all that is drawn.
    """

    def __init__(self, machine: Sequence[int], size: int, rng: np.random.Generator) -> None:
        self._size, self._rng, self._num = size, rng, len(machine)
        self._first, self._second = _pairs(np.asarray(machine, np.int64), rng)
        self.costs: list[float] = []
        self._ranks: list[NDArray[np.float64]] = []
        self._signs: list[NDArray[np.bool_]] = []
        self._num_idle = 0

    @property
    def is_full(self) -> bool:
        """Whether there are as many as wanted."""
        return len(self.costs) >= self._size

    def add(self, cost: float, line: Sequence[int]) -> None:
        """Offer an orientation, given as a line of all tasks; it takes the place of its like, or of the worst."""
        rank = np.empty(self._num)
        rank[np.asarray(line, np.int64)] = np.arange(self._num)
        sign = rank[self._first] < rank[self._second]
        place = self._place(cost, sign)
        self._num_idle = self._num_idle + 1 if place is None else 0
        if place == len(self.costs):
            self.costs.append(cost)
            self._ranks.append(rank)
            self._signs.append(sign)
        elif place is not None:
            self.costs[place], self._ranks[place], self._signs[place] = cost, rank, sign
        if self._num_idle > 3 * self._size:
            self._thin()

    def between(self) -> list[int]:
        """Return a line between two that are kept.

        Tasks are sorted by a mean of their places in both. Where both agree on the order of two tasks, so does every
        mean; so no circle can come up, and what comes out lies on a shortest path between the two.
        """
        one, other = self._rng.choice(len(self.costs), 2, replace=False)
        share = self._rng.uniform(0.3, 0.7)
        mean = (1 - share) * self._ranks[one] + share * self._ranks[other]
        return [int(task) for task in np.argsort(mean, kind="stable")]

    def _place(self, cost: float, sign: NDArray[np.bool_]) -> int | None:
        """Return where an orientation belongs, None for nowhere."""
        far = [float(np.mean(sign != kept)) if len(sign) else 0.0 for kept in self._signs]
        near = min(range(len(far)), key=far.__getitem__, default=-1)
        if near >= 0 and far[near] < NEAR:
            return near if cost < self.costs[near] else None
        if not self.is_full:
            return len(self.costs)
        worst = max(range(len(far)), key=self.costs.__getitem__)
        return worst if cost <= self.costs[worst] else None

    def _thin(self) -> None:
        """Keep the best alone, to begin anew."""
        best = min(range(len(self.costs)), key=self.costs.__getitem__)
        self.costs, self._ranks = [self.costs[best]], [self._ranks[best]]
        self._signs = [self._signs[best]]
        self._num_idle = 0


def _pairs(machine: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of tasks that share a machine: all, or some where there are many."""
    by_machine = np.argsort(machine, kind="stable")
    _, group, size = np.unique(machine, return_inverse=True, return_counts=True)
    first_of = np.cumsum(size) - size
    if int(np.sum(size * (size - 1))) // 2 <= PAIRS:
        both = np.concatenate(
            [by_machine[start : start + num][np.array(np.triu_indices(num, 1))]
             for start, num in zip(first_of, size, strict=True)], axis=1,
        )  # fmt: skip
        return both[0], both[1]
    first = rng.integers(0, len(machine), PAIRS)
    place = first_of[group[first]] + (rng.random(PAIRS) * size[group[first]]).astype(np.int64)
    second = by_machine[place]
    return first[first != second], second[first != second]
