"""Iterated greedy for flow shops: take a few jobs out, put each back at its best place, again and again."""

from __future__ import annotations

import numpy as np

import headway.policies.shop.flow_kernel as kernel
from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.numerics.jit import is_ready
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.flow_model import flow_model
from headway.policies.shop.flow_run import Flow
from headway.policies.shop.incumbent import Incumbent
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule
from headway.policies.shop.seats import Tell

NAME = "shop/iterated-greedy"
COMPILE_S = 5.0
"""Who has less time does not wait for a compiler."""
FEW = 150_000
"""With fewer tasks times rounds than that, waiting for a compiler does not pay."""


class IteratedGreedy:
    """Improves the one order in which all machines of a flow shop take the jobs.

    Jobs with tasks under way come first. Releases and downtimes are left out of the search, and kept by the schedule.

    Parameters
    ----------
    num_out : int
        How many jobs are taken out in a round, >= 1; 4, the authors'.
    heat : float
        How readily a worse order is gone on from, >= 0, in tenths of a mean duration; 0.4, the authors'.
    max_rounds : int
        Rounds after which it ends, budget or not, >= 0; 0, the default, for 1 for each task, squared over 10.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: R. Ruiz, T. Stützle, "A simple and effective iterated greedy algorithm for the permutation flowshop
    scheduling problem", 2007.

    Faithful to the paper: start by NEH, destruction, construction, local search by insertion in a random order,
    acceptance at a constant temperature. Added: an end for small problems, and one at a proven bound.

    Cost: a round takes O(jobs ** 2 * machines).

    Examples
    --------
    >>> from headway.policies.shop.making import flow_shop
    >>> shop = flow_shop("three", [[1, 4], [3, 2], [2, 2]], permutation=True)
    >>> IteratedGreedy().solve(shop, budget_s=1.0, rng=np.random.default_rng(0)).status
    'optimal'
    """

    def __init__(self, *, num_out: int = 4, heat: float = 0.4, max_rounds: int = 0) -> None:
        self.num_out = num_out
        self.heat = heat
        self.max_rounds = max_rounds
        if num_out < 1:
            raise ConfigError(f"{NAME}: num_out must be >= 1, got {num_out}. Try 4.")
        if not heat >= 0:
            raise ConfigError(f"{NAME}: heat must be >= 0, got {heat}. Try 0.4.")
        if max_rounds < 0:
            raise ConfigError(f"{NAME}: max_rounds must be >= 0, got {max_rounds}. 0 lets the size decide.")

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Improve a start, or the order of NEH; see `Solver`."""
        model = flow_model(problem, NAME)
        watch = Stopwatch(budget_s)
        best = Incumbent(problem, NAME, watch, tell)
        best.prove(model.bound)
        rounds = self.max_rounds or max(problem.num_tasks**2 // 10, 10)
        wait = watch.budget_s >= COMPILE_S or is_ready(kernel.greedy)
        flow = Flow(model.times, rng, fast=wait and rounds * problem.num_tasks > FEW)
        best.offer(start)
        order = flow.neh()
        if not best.offer(model.schedule(order)) and best.schedule is not None:
            order = model.order(best.schedule)
        if len(order) > 1 and not best.is_proven:
            bound = model.bound or 0
            flow.greedy(
                order, self.num_out, self.heat, bound, rounds, watch, lambda one: best.offer(model.schedule(one))
            )
        return best.result()
