"""The algorithm of Giffler and Thompson: a schedule by a dispatching rule, active or non-delay."""

from __future__ import annotations

import numpy as np

from headway.core.errors import ConfigError, UnknownName
from headway.core.nouns import Seconds
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.generate import generate
from headway.policies.shop.incumbent import Incumbent
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Result
from headway.policies.shop.rules import rule as rule_named
from headway.policies.shop.schedule import Schedule
from headway.policies.shop.seats import Tell

NAME = "shop/giffler-thompson"


class GifflerThompson:
    """Generates a schedule task by task, by a rule, and more at random when asked to.

    For job shops, flexible ones, flow shops and single machines, with releases, downtimes and what is under way.

    Parameters
    ----------
    rule : str
        Who is first, as in ``shop/dispatch``; ``"mwkr"``, most work remaining, by default.
    non_delay : bool
        Whether no machine may stand still while it has something to do, the default; else schedules are active.
    num_random : int
        How many more schedules to generate by dice, >= 0; the best counts. 0 by default.

    Raises
    ------
    ConfigError
        When there is no such rule, or `num_random` is negative.

    Notes
    -----
    Source: B. Giffler, G. L. Thompson, "Algorithms for solving production-scheduling problems", 1960.

    Faithful to the paper: conflict sets of active schedules. Added: modes (each is a rival of its own; the soonest end
    chooses the machine), non-delay schedules, releases, downtimes.

    Cost: O(tasks * (tasks in a queue + machines)).

    Examples
    --------
    >>> from headway.policies.shop.making import job_shop
    >>> shop = job_shop("two", [[(0, 3), (1, 2)], [(0, 2), (1, 4)]])
    >>> GifflerThompson(rule="mwkr").solve(shop, budget_s=0.0, rng=np.random.default_rng(0)).objective
    8
    """

    def __init__(self, *, rule: str = "mwkr", non_delay: bool = True, num_random: int = 0) -> None:
        self.rule = rule
        self.non_delay = non_delay
        self.num_random = num_random
        try:
            rule_named(rule)
        except UnknownName as error:
            raise ConfigError(str(error)) from error
        if num_random < 0:
            raise ConfigError(f"{NAME}: num_random must be >= 0, got {num_random}. 0 generates one schedule.")

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Generate schedules; see `Solver`."""
        check_machines(problem, NAME)
        watch = Stopwatch(budget_s)
        best = Incumbent(problem, NAME, watch, tell)
        best.offer(start)
        for number in range(self.num_random + 1):
            if number and watch.is_over:
                break
            rule = rule_named("random" if number else self.rule)
            if hasattr(rule, "reset"):
                rule.reset(rng)
            best.offer(generate(problem, rule, non_delay=self.non_delay))
        return best.result()


def check_machines(problem: Problem, where: str) -> None:
    """Raise for what cannot be generated behind the queues of machines.

    Raises
    ------
    ConfigError
        When tasks need other things than one machine each, or machines block or must agree on an order.
    """
    got = problem.kind if problem.kind == "project" and not _on_machines(problem) else ""
    got = "blocking machines" if problem.blocking else "one order for all machines" if problem.permutation else got
    if got:
        raise ConfigError(
            f"{where}: each task must take one machine, free to order its tasks, got {got}. Try shop/headway."
        )


def _on_machines(problem: Problem) -> bool:
    needs = (mode.needs for task in problem.tasks for mode in task.modes)
    return all(len(need) == 1 and problem.capacity[need[0][0]] == 1 for need in needs)
