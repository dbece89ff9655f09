"""The fuzzy fitness evaluation method: who is like those whose fitness is known is not evaluated, but estimated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from headway.numerics.evolution import Rows, agreement, fittest

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Evaluate = Callable[[Rows], Floats]
"""Fitness of individuals, ``[individuals]``."""

SAME = 1.0 - 1e-4
"""Whoever is more like another may be the same."""


class Fuzzy(Struct, frozen=True, kw_only=True):
    """When to estimate; see `FfeeaSatellite` for the parameters."""

    alike: float = 0.9
    maybe_alike: float = 0.8
    neighbours: int = 3
    forced_frac: float = 0.08
    archive: int = 200
    num_elite: int = 5
    halving_frac: float = 0.25


class ExactFitness:
    """Evaluates everybody.

    Parameters
    ----------
    evaluate : callable of (orders) -> fitness
        What is slow.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self.num_real = 0
        self.num_fuzzy = 0

    def warm(self) -> None:
        """Compile what is to be compiled."""
        self._evaluate(np.empty((0, 0), dtype=np.int64))

    def of(self, rows: Rows, elite: float, rng: np.random.Generator) -> Floats:
        """Return the fitness of individuals, ``[individuals]``; `elite` is that of the elite's last."""
        del elite, rng
        self.num_real += len(rows)
        return self._evaluate(rows)


class FuzzyFitness(ExactFitness):
    """Estimates the fitness of those who are like others.

    Parameters
    ----------
    evaluate : callable of (orders) -> fitness
        What is slow.
    size : int
        Length of individuals, >= 1.
    fuzzy : Fuzzy
        When to estimate.
    """

    def __init__(self, evaluate: Evaluate, size: int, fuzzy: Fuzzy) -> None:
        super().__init__(evaluate)
        self._fuzzy = fuzzy
        self._weights = 0.5 ** (np.arange(size) / max(fuzzy.halving_frac * size, 1.0))
        self._known = np.empty((0, size), dtype=np.int64)
        self._fitness = np.empty(0)

    def warm(self) -> None:
        """Compile what is to be compiled."""
        super().warm()
        self._alike(np.empty((0, self._known.shape[1]), dtype=np.int64))

    def of(self, rows: Rows, elite: float, rng: np.random.Generator) -> Floats:
        """Return the fitness of individuals, estimated where they are alike and no candidates for the elite."""
        found, is_real, is_same = self._estimates(rows, rng)
        is_real |= (found >= elite) & ~is_same  # nobody gets among the best by an estimate
        found[is_real] = self._evaluate(rows[is_real])
        self.num_real += int(is_real.sum())
        self.num_fuzzy += int((~is_real).sum())
        keep = self._fuzzy.archive
        self._known = np.concatenate([self._known, rows[is_real]])[-keep:]
        self._fitness = np.concatenate([self._fitness, found[is_real]])[-keep:]
        return found

    def _estimates(self, rows: Rows, rng: np.random.Generator) -> tuple[Floats, Bools, Bools]:
        """Return the weighted mean fitness of each one's nearest, who needs a real evaluation, and who had one."""
        fuzzy = self._fuzzy
        if len(self._known) < fuzzy.neighbours:
            return np.zeros(len(rows)), np.ones(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
        alike = self._alike(rows)
        nearest = np.argsort(-alike, axis=1, kind="stable")[:, : fuzzy.neighbours]
        near = np.take_along_axis(alike, nearest, axis=1)
        found = (near * self._fitness[nearest]).sum(axis=1) / np.maximum(near.sum(axis=1), 1e-12)
        most = near[:, 0]
        is_same = most > SAME
        is_same[is_same] = (self._known[nearest[is_same, 0]] == rows[is_same]).all(axis=1)
        found[is_same] = self._fitness[nearest[is_same, 0]]
        chance = rng.random(len(rows))
        is_real = (most < fuzzy.maybe_alike) | ((most < fuzzy.alike) & (chance < 1.0 - most))
        is_real |= rng.random(len(rows)) < fuzzy.forced_frac
        return found, is_real & ~is_same, is_same

    def _alike(self, rows: Rows) -> Floats:
        try:
            from headway.policies.shop.ffeea_fitness_kernel import weighted_agreement
        except ModuleNotFoundError:
            return agreement(rows, self._known, self._weights)
        weights = (self._weights / self._weights.sum()).astype(np.float32)
        found = weighted_agreement(rows.astype(np.int32), self._known.astype(np.int32), weights)
        alike: Floats = found.astype(np.float64)
        return alike


def elite_of(fitness: Floats, num: int) -> float:
    """Return the fitness of the last of the elite."""
    return float(fitness[fittest(fitness, num)[-1]]) if len(fitness) else -np.inf
