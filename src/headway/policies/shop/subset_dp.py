"""The dynamic program over subsets of jobs: the least weighted tardiness of one machine, proven, for some twenty."""

from __future__ import annotations

import numpy as np

from headway.core.errors import ConfigError, missing_extra
from headway.core.nouns import Seconds
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.one_machine import as_one_machine, check_plain, in_sequence
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Progress, Result
from headway.policies.shop.schedule import Schedule, objective
from headway.policies.shop.seats import Tell

NAME = "shop/subset-dp"


class SubsetDp:
    """Proves the least total tardiness of one machine, weighted or not, over all subsets of jobs that could go first.

    Parameters
    ----------
    max_jobs : int
        More than so many are refused, in [1, 26]; 22, which takes 64 MB. Each further job doubles time and memory.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Held, Karp, "A dynamic programming approach to sequencing problems", Journal of the Society for Industrial
    and Applied Mathematics 10, 1962, the recursion over sets.

    Faithful to the paper: the recursion. It heeds no budget: it ends by itself.

    Cost: O(n 2^n) time and 16 bytes for each subset; 20 jobs take about 30 ms once compiled.

    Examples
    --------
    >>> from headway.policies.shop.making import single_machine
    >>> problem = single_machine("three", [4, 2, 6], [4, 5, 6], weights=[1.0, 3.0, 1.0])
    >>> result = SubsetDp().solve(problem, budget_s=1, rng=np.random.default_rng(0))
    >>> result.status, result.objective, result.schedule.starts
    ('optimal', 8.0, (2, 0, 6))
    """

    def __init__(self, *, max_jobs: int = 22) -> None:
        self.max_jobs = max_jobs
        if not 1 <= max_jobs <= 26:
            raise ConfigError(f"{NAME}: max_jobs must be in [1, 26], got {max_jobs}. Try the default, 22.")

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Prove the optimum; `start` cannot help."""
        watch = Stopwatch(budget_s)
        machine = as_one_machine(problem, NAME)
        _check(problem, len(machine.tasks), self.max_jobs)
        try:
            from headway.policies.shop.subset_dp_kernel import least_tardiness
        except ModuleNotFoundError as error:
            raise missing_extra("numba", "shop", "to compile the dynamic program") from error
        weights = machine.weights if problem.objective == "weighted_tardiness" else np.ones(len(machine.tasks))
        _, order = least_tardiness(machine.durations, machine.due, weights, float(machine.begin))
        schedule = in_sequence(problem, machine.tasks[order].tolist(), machine.begin)
        cost = objective(problem, schedule)
        news = Progress(watch.spent_s, cost, cost)
        if tell is not None:
            tell(news)
        return Result(
            solver=NAME,
            status="optimal",
            schedule=schedule,
            objective=cost,
            bound=cost,
            took_s=watch.spent_s,
            history=(news,),
        )


def _check(problem: Problem, num_jobs: int, max_jobs: int) -> None:
    if problem.objective not in ("total_tardiness", "weighted_tardiness"):
        raise ConfigError(f"{NAME}: objective must be tardiness, got {problem.objective}. Try shop/cp-sat.")
    check_plain(problem, NAME)
    if num_jobs > max_jobs:
        raise ConfigError(f"{NAME}: problem must have at most {max_jobs} jobs, got {num_jobs}. Try shop/lawler.")
