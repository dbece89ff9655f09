"""The planner of `headway solve` when nobody is named: a schedule by rules, made better, then proven or bettered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Literal, cast

import numpy as np

from headway.core import catalogue
from headway.core.errors import ConfigError, missing_extra
from headway.core.nouns import Seconds
from headway.core.parameters import decode
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.cp_windows import least_makespan, windows
from headway.policies.shop.flow_model import flow_model
from headway.policies.shop.incumbent import Incumbent
from headway.policies.shop.job_orders import search_orders
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule
from headway.policies.shop.seats import Solver, Tell
from headway.policies.shop.tabu_model import check_shop

NAME = "shop/headway"
SMALL = 100
"""So few tasks are proven sooner than improved."""
RULES = {
    "makespan": ("mwkr", "fdd/mwkr", "mopnr"),
    "total_flow_time": ("spt", "lwkr", "fifo"),
    "total_tardiness": ("mdd", "edd", "slack", "atc", "spt"),
    "weighted_tardiness": ("atc", "wspt", "mdd", "edd"),
}
"""Which dispatching rules are tried, by objective."""


class Headway:
    """Chains what fits: the best constructor, an improver where there is one, and the exact planner from there.

    Job shops get tabu search, flow shops iterated greedy, projects justified sampling, shops whose machines block or
    must agree on an order a search over orders of jobs. Then CP-SAT goes on from the best schedule and proves what it
    can; problems of at most 100 tasks go to it at once.

    Parameters
    ----------
    improve_frac : float
        The share of the budget for improving before the exact planner takes over, in 0 .. 1; 0.5.
    exact : str
        ``"auto"``, the default: the exact planner where OR-Tools is installed. ``"always"``, ``"never"``.
    workers : int
        Threads of the exact planner, >= 0; 0 for as many as there are cores.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: this project; its parts name theirs.

    Faithful to the paper: there is none.

    Cost: the budget; less when the best is proven, and for problems that all parts are done with.

    Examples
    --------
    >>> from headway.policies.shop.making import job_shop
    >>> shop = job_shop("two", [[(0, 3), (1, 2)], [(0, 2), (1, 4)]])
    >>> Headway(exact="never").solve(shop, budget_s=1.0, rng=np.random.default_rng(0)).objective
    8
    """

    def __init__(
        self,
        *,
        improve_frac: float = 0.5,
        exact: Literal["auto", "always", "never"] = "auto",
        workers: int = 0,
    ) -> None:
        self.improve_frac = improve_frac
        self.exact = exact
        self.workers = workers
        if not 0 <= improve_frac <= 1:
            raise ConfigError(f"{NAME}: improve_frac must be in 0 .. 1, got {improve_frac}. Try 0.5.")
        if exact not in ("auto", "always", "never"):
            raise ConfigError(f"{NAME}: exact must be auto, always or never, got {exact!r}. Try auto.")
        if workers < 0:
            raise ConfigError(f"{NAME}: workers must be >= 0, got {workers}. 0 takes all cores.")

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Solve a problem within a budget; see `Solver`.

        Raises
        ------
        MissingExtra
            When the exact planner is asked for, and OR-Tools is not installed.
        """
        watch = Stopwatch(budget_s)
        is_exact = self._is_exact()
        best = Incumbent(problem, NAME, watch, tell)
        best.offer(start)
        if problem.objective == "makespan":
            best.prove(float(least_makespan(problem, windows(problem))))
        for part, share in self._parts(problem, is_exact):
            if best.is_proven or (best.schedule is not None and watch.is_over):
                break
            left_s = share * watch.left_s
            if part is None:
                search_orders(best, rng, Stopwatch(left_s))
                continue
            result = part.solve(problem, budget_s=left_s, rng=rng, start=best.schedule, tell=best.hear)
            if result.status == "infeasible":
                return best.infeasible(result.why)
            best.prove(result.bound)
            best.offer(result.schedule)
            if result.status == "optimal":
                best.prove(result.objective)
        return best.result()

    def _is_exact(self) -> bool:
        has = find_spec("ortools") is not None
        if self.exact == "always" and not has:
            raise missing_extra("ortools", "shop", "to solve exactly")
        return has and self.exact != "never"

    def _parts(self, problem: Problem, is_exact: bool) -> Iterator[tuple[Solver | None, float]]:
        """Yield solvers with the share of the budget left; None stands for the search over orders of jobs."""
        yield from _constructors(problem)
        improve = 1.0 if not is_exact else 0.0 if problem.num_tasks <= SMALL else self.improve_frac
        if improve:
            yield from _improvers(problem, improve)
        if is_exact:
            yield _built("shop/cp-sat", {"workers": self.workers}), 1.0


def _constructors(problem: Problem) -> Iterator[tuple[Solver | None, float]]:
    if problem.blocking or problem.permutation:
        if _fits(flow_model, problem):
            yield _built("shop/neh", {}), 0.05
        if problem.chains is not None and _on_machines(problem):
            yield None, 0.05
    elif _on_machines(problem):
        rules = RULES[problem.objective]
        if any(job.deadline is not None for job in problem.jobs):
            rules = (*rules, "edd", "slack", "mdd")
        for non_delay in (True, False):
            for rule in rules:
                yield _built("shop/giffler-thompson", {"rule": rule, "non_delay": non_delay}), 0.02
    else:
        yield _built("shop/serial-sgs", {"num_random": 100}), 0.05


def _improvers(problem: Problem, share: float) -> Iterator[tuple[Solver | None, float]]:
    if problem.blocking or problem.permutation:
        if _fits(flow_model, problem):
            yield _built("shop/iterated-greedy", {}), share
        elif problem.chains is not None and _on_machines(problem):
            yield None, share / 2
    elif not _on_machines(problem):
        yield _built("shop/serial-sgs", {"num_random": 5_000}), share / 2
    elif _fits(check_shop, problem):
        is_flexible = any(len(task.modes) > 1 for task in problem.tasks)
        yield _built("shop/tabu", {}), share / 4 if is_flexible else share
    else:
        yield _built("shop/giffler-thompson", {"rule": "random", "num_random": 1_000}), share / 4


def _fits(check: Callable[[Problem, str], object], problem: Problem) -> bool:
    """Whether a solver's check lets a problem pass."""
    try:
        check(problem, NAME)
    except ConfigError:
        return False
    return True


def _on_machines(problem: Problem) -> bool:
    """Whether every mode takes one machine."""
    needs = (mode.needs for task in problem.tasks for mode in task.modes)
    return all(len(need) == 1 and problem.capacity[need[0][0]] == 1 for need in needs)


def _built(id_: str, params: Mapping[str, Any]) -> Solver:
    return cast(Solver, decode(catalogue.load(id_), params, where=id_))
