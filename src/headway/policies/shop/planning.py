"""How a solver becomes a planner, whose plan is made of actions."""

from __future__ import annotations

import numpy as np

from headway.core.actions import Action, Start
from headway.core.errors import PlanError
from headway.core.nouns import Id, Seconds
from headway.core.policy import Plan
from headway.policies.shop.nouns import SLOT
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule, mode_of
from headway.policies.shop.seats import Solver


class AsPlanner:
    """Plans by solving.

    Parameters
    ----------
    solver : Solver
        Who solves.
    """

    def __init__(self, *, solver: Solver) -> None:
        self.solver = solver

    def plan(self, problem: Problem, *, budget_s: Seconds, rng: np.random.Generator) -> Plan:
        """Return the schedule found as `Start` actions of tasks by name, without those that are under way.

        Raises
        ------
        PlanError
            When there is no schedule, or none was found in time.
        """
        result = self.solver.solve(problem, budget_s=budget_s, rng=rng)
        if result.schedule is None:
            raise no_schedule(problem, result)
        return as_plan(problem, result.schedule, result.objective or 0.0, result.bound)


def no_schedule(problem: Problem, result: Result) -> PlanError:
    """Build the error for a problem without a schedule."""
    if result.status == "infeasible":
        why = result.why or "the solver proved it and cannot say why"
        return PlanError(
            f"{result.solver}: {problem.name} must have a schedule, it has none: {why}. Relax one of them."
        )
    return PlanError(f"{result.solver}: must find a schedule of {problem.name}, got none in time. Allow more time.")


def as_plan(problem: Problem, schedule: Schedule, cost: float, bound: float | None) -> Plan:
    """Return a schedule as the plan of a policy; times are those of the problem."""
    steps: list[tuple[Seconds, Action]] = [
        (float(schedule.starts[task]), start_of(problem, schedule, task))
        for task in range(problem.num_tasks)
        if problem.tasks[task].fixed_start is None
    ]
    steps.sort(key=lambda step: step[0])
    return Plan(steps=tuple(steps), cost=cost, bound=bound)


def start_of(problem: Problem, schedule: Schedule, task: int) -> Start:
    """Return the action that starts a task where the schedule has it."""
    needs = mode_of(problem, schedule, task).needs
    on: dict[Id, dict[str, float]] = {problem.resource_name(r): {SLOT: float(amount)} for r, amount in needs}
    return Start(problem.task_name(task), on)
