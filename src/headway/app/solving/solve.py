"""Solve a problem, check what came of it, and lose nothing when somebody interrupts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace

from headway.app.solving.planners import DEFAULT, planner, qualified
from headway.core.errors import ConfigError, PlanError
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.checking import check
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Progress, Result
from headway.policies.shop.schedule import Schedule, faults, objective
from headway.policies.shop.seats import Solver, Tell


def solve(
    problem: Problem,
    name: str = DEFAULT,
    params: Mapping[str, Any] | None = None,
    *,
    budget_s: float = 30.0,
    seed: int = 0,
    workers: int = 0,
    start: Schedule | None = None,
    tell: Tell | None = None,
) -> Result:
    """Solve a problem with a solver of the catalogue.

    Parameters
    ----------
    problem : Problem
        What to plan.
    name : str
        The solver's id, with or without its family.
    params : mapping of str to object or None
        Its parameters.
    budget_s : float
        Seconds of computing, > 0.
    seed : int
        Of what it draws.
    workers : int
        Threads, for solvers that can use several, >= 0; 0 for all cores.
    start : Schedule or None
        A schedule to go on from.
    tell : callable of (Progress) or None
        Told of every improvement.

    Returns
    -------
    Result
        With a schedule that has been checked against every rule of the problem, unless there is none. After Ctrl-C it
        is the best until then.

    Raises
    ------
    ConfigError
        When the problem contradicts itself, the budget is not above zero, the start breaks a rule, or the solver cannot
        treat such a problem.
    PlanError
        When the solver answered with a schedule that breaks a rule: a mistake of ours.
    """
    check(problem)
    if not budget_s > 0:
        raise ConfigError(f"solve: the time limit must be above 0 s, got {budget_s:g}. Try 30s.")
    if start is not None and (wrong := faults(problem, start)):
        raise ConfigError(f"solve: the schedule to start from must keep every rule of {problem.name}, but {wrong[0]}.")
    solver = planner(name, params or {}, workers=workers)
    result = _solve(problem, solver, name, budget_s, np.random.default_rng(seed), start, tell)
    if result.schedule is not None and (wrong := faults(problem, result.schedule)):
        raise PlanError(f"{result.solver}: must keep every rule of {problem.name}, but {wrong[0]}. Please report this.")
    return result


def _solve(
    problem: Problem,
    solver: Solver,
    name: str,
    budget_s: float,
    rng: np.random.Generator,
    start: Schedule | None,
    tell: Tell | None,
) -> Result:
    watch = Stopwatch(budget_s)
    best = Progress(0.0, None if start is None else objective(problem, start), None, start)
    history: list[Progress] = []

    def hear(progress: Progress) -> None:
        nonlocal best
        best = progress if progress.schedule is not None else replace(progress, schedule=best.schedule)
        history.append(replace(progress, schedule=None))
        if tell is not None:
            tell(progress)

    try:
        return solver.solve(problem, budget_s=budget_s, rng=rng, start=start, tell=hear)
    except KeyboardInterrupt:
        cost = None if best.schedule is None else objective(problem, best.schedule)
        return Result(
            solver=qualified(name),
            status="unknown" if cost is None else "feasible",
            schedule=best.schedule,
            objective=cost,
            bound=best.bound,
            took_s=watch.spent_s,
            why="interrupted",
            history=tuple(history),
        )
