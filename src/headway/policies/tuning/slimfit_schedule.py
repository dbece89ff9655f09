"""Which units of a job to train next: by their distances, by dice, or always the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Name = Literal["change", "dice", "last"]
FAR = 1e10
"""Distances begin below this, far above any that is measured, so that each unit is trained early."""


class Schedule(Protocol):
    """Chooses units for one job after the other iteration."""

    def active(self) -> tuple[int, ...]:
        """Return the units to train next, rising."""

    def learn(self, active: Sequence[int], changes: Sequence[float]) -> None:
        """Hear by how much the units that were trained have changed."""


class ByChange:
    """Trains the units that changed most when they were last trained.

    A frozen unit keeps its distance. Once those that are trained have settled, it is the farthest, and is trained.
    Among equal distances the unit that has waited longest comes first.

    Parameters
    ----------
    num_units, num_frozen : int
        How many there are, and how many of them to freeze, in [0, num_units).
    rng : numpy.random.Generator
        From which the first distances are drawn.

    Examples
    --------
    >>> schedule = ByChange(3, 2, np.random.default_rng(0))
    >>> for _ in range(3):  # each once, to begin with
    ...     schedule.learn(schedule.active(), [0.1])
    >>> schedule.learn([1], [0.5])
    >>> schedule.active()
    (1,)
    """

    def __init__(self, num_units: int, num_frozen: int, rng: np.random.Generator) -> None:
        self.num_frozen = num_frozen
        self.distances: NDArray[np.float64] = rng.random(num_units) * FAR
        self._trained_at = np.zeros(num_units, dtype=np.int64)
        self._iteration = 0

    def active(self) -> tuple[int, ...]:
        """Return the farthest units, rising; what is no number counts as farthest."""
        order = np.lexsort((-self._trained_at, self.distances))
        return tuple(np.sort(order[self.num_frozen :]).tolist())

    def learn(self, active: Sequence[int], changes: Sequence[float]) -> None:
        """Set the distances of the units that were trained to their changes."""
        self._iteration += 1
        self.distances[list(active)] = changes
        self._trained_at[list(active)] = self._iteration


class ByDice:
    """Trains units drawn anew in each iteration, the baseline without a schedule."""

    def __init__(self, num_units: int, num_frozen: int, rng: np.random.Generator) -> None:
        self._num_units = num_units
        self._num_active = num_units - num_frozen
        self._rng = rng

    def active(self) -> tuple[int, ...]:
        """Draw units, rising."""
        return tuple(np.sort(self._rng.permutation(self._num_units)[: self._num_active]).tolist())

    def learn(self, active: Sequence[int], changes: Sequence[float]) -> None:
        """Learn nothing."""


class Last:
    """Trains the last units and no others, the baseline of static freezing."""

    def __init__(self, num_units: int, num_frozen: int) -> None:
        self._active = tuple(range(num_frozen, num_units))

    def active(self) -> tuple[int, ...]:
        """Return the last units, rising."""
        return self._active

    def learn(self, active: Sequence[int], changes: Sequence[float]) -> None:
        """Learn nothing."""


def schedule(name: Name, num_units: int, num_frozen: int, rng: np.random.Generator) -> Schedule:
    """Make a schedule by its name, for so many units of which so many are frozen."""
    if name == "last":
        return Last(num_units, num_frozen)
    return (ByDice if name == "dice" else ByChange)(num_units, num_frozen, rng)
