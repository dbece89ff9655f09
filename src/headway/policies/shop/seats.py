"""The seats of the family: who solves a problem as a whole.

``construct``, ``improve`` and ``exact`` share one method, so that any of them can stand where a solver is wanted and
can go on from what another has found. ``dispatch``, which chooses one task at a time, is in `seats_dispatch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np

from headway.core.nouns import Seconds
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Progress, Result
from headway.policies.shop.schedule import Schedule

SOLVERS = ("construct", "improve", "exact")
"""The seats of solvers."""

Tell: TypeAlias = Callable[[Progress], None]


class Solver(Protocol):
    """Finds a schedule for a whole problem."""

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Solve a problem.

        Parameters
        ----------
        problem : Problem
            One that passes `checking.check`.
        budget_s : float
            Seconds of computing, >= 0; with 0, whatever is found first. It ends sooner when there is nothing to gain;
            where it does, equal generators give equal results.
        rng : numpy.random.Generator
            For all that is drawn.
        start : Schedule or None
            A schedule to go on from; the result is no worse.
        tell : callable of (Progress) or None
            Told of every improvement.

        Raises
        ------
        ConfigError
            When it cannot treat problems of this kind.
        """
