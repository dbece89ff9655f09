"""NEH: the longest jobs first, each where it does the least harm."""

from __future__ import annotations

import numpy as np

from headway.core.nouns import Seconds
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.flow_model import flow_model
from headway.policies.shop.flow_run import Flow
from headway.policies.shop.incumbent import Incumbent
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule
from headway.policies.shop.seats import Tell

NAME = "shop/neh"
MANY = 1_000_000
"""From so many steps on, waiting for a compiler pays."""


class Neh:
    """Builds one order of jobs for all machines of a flow shop: the longest first, each at its best place.

    Jobs with tasks under way come first. Releases and downtimes are left out of the search, and kept by the schedule.

    Notes
    -----
    Source: M. Nawaz, E. E. Enscore, I. Ham, "A heuristic algorithm for the m-machine, n-job flow-shop sequencing
    problem", 1983; E. Taillard, "Some efficient heuristic methods for the flow shop sequencing problem", 1990.

    Faithful to the paper: yes; equal places go to the first. A flow shop that need not keep one order gets one.

    Cost: O(jobs ** 2 * machines).

    Examples
    --------
    >>> from headway.policies.shop.making import flow_shop
    >>> shop = flow_shop("three", [[1, 4], [3, 2], [2, 2]], permutation=True)
    >>> Neh().solve(shop, budget_s=1.0, rng=np.random.default_rng(0)).objective
    9
    """

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Build an order; see `Solver`."""
        model = flow_model(problem, NAME)
        watch = Stopwatch(budget_s)
        best = Incumbent(problem, NAME, watch, tell)
        best.prove(model.bound)
        best.offer(start)
        fast = len(model.jobs) ** 2 * problem.num_resources > MANY
        best.offer(model.schedule(Flow(model.times, rng, fast=fast).neh()))
        return best.result()
