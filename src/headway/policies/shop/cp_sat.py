"""The exact planner: one constraint program for every problem of the family, solved by CP-SAT."""

from __future__ import annotations

import math

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.numerics import cp
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.cp_conflict import build, conflict, too_tight
from headway.policies.shop.cp_first import first_schedule
from headway.policies.shop.cp_heard import Heard
from headway.policies.shop.cp_objective import Scale, add_objective
from headway.policies.shop.cp_resources import num_orders
from headway.policies.shop.cp_single import is_plain_single
from headway.policies.shop.cp_tasks import Tasks, hint, schedule_of
from headway.policies.shop.cp_windows import Windows, least_makespan, windows
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule, faults, objective
from headway.policies.shop.seats import Tell

NAME = "shop/cp-sat"
SMALL = 50
"""Problems of so few tasks get one worker unless more are asked for: they are proven at once, and come out the same."""
MOST_ORDERS = 2_000_000
"""A permutation flow shop with more pairs of tasks on its machines keeps the schedule that it begins with."""
FIRST_S = 30.0
"""For a first schedule, when the budget is 0."""
SEARCHES = ["no_lp", "quick_restart_no_lp", "default_lp", "fixed", "quick_restart", "max_lp", "objective_lb_search"]
SEARCHES += ["probing", "lb_tree_search", "pseudo_costs", "reduced_costs"]
"""Searches of the solver, in the order in which workers take them up; it adds those that only look for better."""


class CpSat:
    """Finds a best schedule and proves it, or the best that the budget allows with a bound on what is possible.

    Releases, due times, deadlines, downtimes, tasks under way, alternative modes, blocking and permutation are rules of
    one model. Of a problem without a schedule it says which deadlines contradict each other, where it can.

    Parameters
    ----------
    workers : int
        Threads, >= 0; 0 for as many as there are cores (one for small problems). With 1, equal generators give equal
        results unless the budget ends first.
    gap_frac : float
        It stops when objective and bound are this close, relative to the objective, in 0 .. 1; 0 by default.
    explain_frac : float
        The share of the budget that may go into saying why there is no schedule, beyond proving it, >= 0; 0.5.

    Notes
    -----
    Source: L. Perron, F. Didier, S. Gay, "The CP-SAT-LP Solver", CP 2023; interval models of job shops as in
    P. Baptiste, C. Le Pape, W. Nuijten, "Constraint-Based Scheduling", 2001; blocking after A. Mascis, D. Pacciarelli,
    "Job-shop scheduling with blocking and no-wait constraints", EJOR 143, 2002.

    Faithful to the paper: the solver is the authors' own. Added: a first schedule and a bound before the search,
    blocked jobs that may not move in circles (`cp_moves`), the order on a single machine (`cp_single`), reasons.

    Cost: exponential in the worst case; building takes about 20 microseconds per task.

    Examples
    --------
    >>> from headway.policies.shop.making import job_shop
    >>> shop = job_shop("two", [[(0, 3), (1, 2)], [(0, 2), (1, 4)]])
    >>> CpSat().solve(shop, budget_s=10.0, rng=np.random.default_rng(0)).objective
    8.0
    """

    def __init__(self, *, workers: int = 0, gap_frac: float = 0.0, explain_frac: float = 0.5) -> None:
        if workers < 0:
            raise ConfigError(f"{NAME}: workers must be >= 0, got {workers}. 0 takes all cores.")
        if not 0 <= gap_frac <= 1:
            raise ConfigError(f"{NAME}: gap_frac must be in 0 .. 1, got {gap_frac}. 0 asks for a proof.")
        if explain_frac < 0:
            raise ConfigError(f"{NAME}: explain_frac must be >= 0, got {explain_frac}. 0 asks for no reasons.")
        self.workers = workers
        self.gap_frac = gap_frac
        self.explain_frac = explain_frac

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Solve a problem within a budget; see `headway.policies.shop.seats.Solver`.

        Raises
        ------
        MissingExtra
            When OR-Tools is not installed.
        """
        cp.ortools()
        watch = Stopwatch(budget_s)
        found = windows(problem)
        tight = too_tight(problem, found)
        if tight:
            return Result(solver=NAME, status="infeasible", took_s=watch.spent_s, why=tight)
        known = _known(problem, found, start)
        least = least_makespan(problem, found) if problem.objective == "makespan" else 0
        heard = Heard(watch, tell)
        if known:
            heard.told(float(objective(problem, known)), float(least), known)
            if objective(problem, known) <= least or not budget_s or num_orders(problem) > MOST_ORDERS:
                return _made(problem, known, float(least), heard)
            if problem.objective == "makespan":
                found = windows(problem, int(objective(problem, known)))
        tasks = build(problem, found)
        heard.scale = add_objective(tasks, least)
        return self._search(tasks, known, heard, int(rng.integers(2**31 - 1)))

    def _search(self, tasks: Tasks, known: Schedule | None, heard: Heard, seed: int) -> Result:
        problem = tasks.problem
        if known:
            hint(tasks, known)
        outcome = self._outcome(tasks, heard, seed)
        if outcome.status == "infeasible":
            why = conflict(problem, heard.watch.budget_s * self.explain_frac, seed) if heard.watch.budget_s else ""
            return Result(
                solver=NAME, status="infeasible", took_s=heard.watch.spent_s, why=why, history=tuple(heard.history)
            )
        schedule = _better(problem, known, schedule_of(tasks, outcome.values) if outcome.values else None)
        if schedule is None:
            heard.told(None, _bound(problem, outcome.bound, heard.scale))
            return Result(
                solver=NAME,
                status="unknown",
                bound=heard.least,
                took_s=heard.watch.spent_s,
                history=tuple(heard.history),
            )
        is_proven = outcome.status == "optimal" and not self.gap_frac and not heard.scale.slack
        cost = float(objective(problem, schedule))
        return _made(problem, schedule, cost if is_proven else _bound(problem, outcome.bound, heard.scale), heard)

    def _outcome(self, tasks: Tasks, heard: Heard, seed: int) -> cp.Outcome:
        budget_s = heard.watch.budget_s
        return cp.solve(
            tasks.model,
            tasks.wanted,
            budget_s=max(heard.watch.left_s, 0.05) if budget_s else FIRST_S,
            workers=self.workers or (1 if tasks.problem.num_tasks <= SMALL else 0),
            seed=seed,
            gap_frac=self.gap_frac,
            settings={"stop_after_first_solution": not budget_s, **_settings(tasks.problem)},
            on_solution=heard.solution,
            on_bound=heard.bound,
        )


def _settings(problem: Problem) -> dict[str, cp.Setting]:
    """Return parameters of the solver by what was measured."""
    if is_plain_single(problem):
        return {"linearization_level": 2}  # the order of jobs is linear in who comes before whom
    # Elsewhere the linear relaxation says little that the search does not begin with, and takes time: ft10 is proven in
    # 3 s of processor without it, and not in 10 s with it. Few workers get the searches that come first.
    return {"linearization_level": 0, "subsolvers": SEARCHES}


def _known(problem: Problem, found: Windows, start: Schedule | None) -> Schedule | None:
    """Return the better of the schedule to go on from and, for all but small problems, a first one of our own."""
    sound = start if start is not None and not faults(problem, start) else None
    return _better(problem, sound, first_schedule(problem, found) if problem.num_tasks > SMALL else None)


def _better(problem: Problem, one: Schedule | None, other: Schedule | None) -> Schedule | None:
    """Return the schedule that costs less."""
    both = [schedule for schedule in (one, other) if schedule is not None]
    return min(both, key=lambda schedule: objective(problem, schedule), default=None)


def _bound(problem: Problem, bound: float | None, scale: Scale) -> float | None:
    """Return a bound of the problem's objective, rounded up where that is a whole number."""
    if bound is None or math.isinf(bound):
        return None
    is_whole = problem.objective != "weighted_tardiness"
    return float(math.ceil(bound - 1e-6)) if is_whole else scale.bound(bound)


def _made(problem: Problem, schedule: Schedule, bound: float | None, heard: Heard) -> Result:
    cost = float(objective(problem, schedule))
    heard.told(cost, None if bound is None else min(bound, cost))
    bound = None if heard.least is None else min(heard.least, cost)
    return Result(
        solver=NAME,
        status="optimal" if bound is not None and bound >= cost else "feasible",
        schedule=schedule,
        objective=cost,
        bound=bound,
        took_s=heard.watch.spent_s,
        history=tuple(heard.history),
    )
