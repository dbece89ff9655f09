"""What follows from an application alone: who waits for whom, upward ranks, where tasks can run."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from headway.core.nouns import Seconds
from headway.policies.shop.soc_nouns import Application


class Shape:
    """An application taken apart for those who schedule it.

    Parameters
    ----------
    application : Application
        What is taken apart.
    bandwidth : float
        Volume that goes from one processing element to another per second, > 0.

    Attributes
    ----------
    parents, children : list of list of (int, float)
        By task, the other end of each edge and the seconds that its data is under way between two elements.
    times_s : list of list of float
        By task and element; infinite where it cannot run.
    able : list of list of int
        By task, the elements on which it can run.
    mean_s, min_s : list of float
        By task, over the elements on which it can run.
    rank_s : list of float
        The upward rank: mean time of the task and of the longest way from it to an end, transfers included.
    """

    def __init__(self, application: Application, bandwidth: float) -> None:
        application.check()
        self.num_tasks = len(application.times_s)
        self.times_s = [[math.inf if one is None else one for one in row] for row in application.times_s]
        self.able = [[pe for pe, one in enumerate(row) if one < math.inf] for row in self.times_s]
        self.mean_s = [
            math.fsum(row[pe] for pe in able) / len(able) for row, able in zip(self.times_s, self.able, strict=True)
        ]
        self.min_s = [min(row) for row in self.times_s]
        self.parents: list[list[tuple[int, Seconds]]] = [[] for _ in self.times_s]
        self.children: list[list[tuple[int, Seconds]]] = [[] for _ in self.times_s]
        for parent, child, volume in application.edges:
            self.parents[child].append((parent, volume / bandwidth))
            self.children[parent].append((child, volume / bandwidth))
        self.rank_s = self._ranks()

    @functools.cached_property
    def to_children(self) -> NDArray[np.float32]:
        """``[tasks, tasks]``: 1 where the second is a child of the first."""
        matrix = np.zeros((self.num_tasks, self.num_tasks), dtype=np.float32)
        for parent, children in enumerate(self.children):
            matrix[parent, [child for child, _ in children]] = 1.0
        return matrix

    def _ranks(self) -> list[Seconds]:
        ranks: dict[int, Seconds] = {}

        def rank(task: int) -> Seconds:
            if task not in ranks:
                onward = max((transfer + rank(child) for child, transfer in self.children[task]), default=0.0)
                ranks[task] = self.mean_s[task] + onward
            return ranks[task]

        return [rank(task) for task in range(self.num_tasks)]


@functools.lru_cache(maxsize=256)
def shape_of(application: Application, bandwidth: float = 1.0) -> Shape:
    """Return the shape of an application, taken apart once.

    Raises
    ------
    ConfigError
        When it is no application.
    """
    return Shape(application, bandwidth)
