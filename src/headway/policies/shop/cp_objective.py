"""What a constraint program is to make small."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from msgspec import Struct

from headway.policies.shop.cp_tasks import Tasks
from headway.policies.shop.cp_windows import waiting
from headway.policies.shop.problem import Job, Problem

FINEST = 10**6
"""Weights that are no multiples of one part in so many are rounded to such a part of the largest."""
MOST = 1 << 60
"""Sums stay below, so that they fit into 64 bits."""


class Scale(Struct, frozen=True):
    """How what is minimised, in whole numbers, and the problem's objective belong together.

    Parameters
    ----------
    per_one : float
        How many units of what is minimised make one of the objective, > 0.
    slack : float
        By how much the two differ at most, since weights had to be rounded, in units of the objective; 0 for not at
        all.
    """

    per_one: float = 1.0
    slack: float = 0.0

    def bound(self, bound: float) -> float:
        """Return the bound of the objective that follows from a bound of what is minimised."""
        return bound / self.per_one - self.slack


def add_objective(tasks: Tasks, least: int = 0) -> Scale:
    """Say what is to be minimised.

    Parameters
    ----------
    tasks : Tasks
        Of the problem.
    least : int
        A makespan that no schedule beats, >= 0.

    Returns
    -------
    Scale
        How far units of what is minimised are those of the problem's objective.
    """
    model, problem = tasks.model, tasks.problem
    if problem.objective == "makespan":
        last = [number for number, others in enumerate(waiting(problem)) if not others]
        model.minimize(_latest(tasks, last, least))
        return Scale()
    members: list[list[int]] = [[] for _ in problem.jobs]
    for number in _last_of_jobs(problem):
        members[problem.tasks[number].job].append(number)
    if problem.objective == "total_flow_time":
        model.minimize(sum(_latest(tasks, numbers) for numbers in members if numbers))
        return Scale()
    due = [
        (numbers, job) for job, numbers in zip(problem.jobs, members, strict=True) if numbers and job.due is not None
    ]
    weights = [_weight(problem, job) for _, job in due]
    longest = [max(tasks.windows.horizon - (job.due or 0), 0) for _, job in due]
    per_one = _per_one(weights, longest)
    whole = [round(weight * per_one) for weight in weights]
    if due:
        late = [_tardiness(tasks, numbers, job.due or 0) for numbers, job in due]
        model.minimize(sum(one * times for one, times in zip(late, whole, strict=True)))
    rounded = [abs(weight - times / per_one) for weight, times in zip(weights, whole, strict=True)]
    return Scale(float(per_one), float(sum(one * most for one, most in zip(rounded, longest, strict=True))))


def _per_one(weights: Sequence[Fraction], longest: Sequence[int]) -> Fraction:
    """Return the least number that makes all weights whole, or else one that keeps most of the largest."""
    largest = max(weights, default=Fraction(0))
    if not largest:
        return Fraction(1)
    least = Fraction(math.lcm(*(weight.denominator for weight in weights)))
    most = MOST / (largest * max(sum(longest), 1))
    if least <= FINEST and least <= most:
        return least
    return min(FINEST / largest, most)


def _weight(problem: Problem, job: Job) -> Fraction:
    """Return the weight of a job; 0.1 is a tenth, though its nearest binary number is not."""
    if problem.objective != "weighted_tardiness":
        return Fraction(1)
    exact = Fraction(job.weight)
    near = exact.limit_denominator(FINEST)
    return near if abs(near - exact) <= exact * Fraction(1, 10**15) else exact


def _last_of_jobs(problem: Problem) -> Iterator[int]:
    """Yield the tasks for which no other of their own job waits."""
    for number, others in enumerate(waiting(problem)):
        if all(problem.tasks[other].job != problem.tasks[number].job for other in others):
            yield number


def _latest(tasks: Tasks, numbers: Sequence[int], least: int = 0) -> Any:
    """Return the end of the last of some tasks."""
    if len(numbers) == 1:
        return tasks.ends[numbers[0]]
    end = tasks.model.new_int_var(min(least, tasks.windows.horizon), tasks.windows.horizon, "")
    for number in numbers:
        tasks.model.add(end >= tasks.ends[number])
    return end


def _tardiness(tasks: Tasks, numbers: list[int], due: int) -> Any:
    late = tasks.model.new_int_var(0, max(tasks.windows.horizon - due, 0), "")
    tasks.model.add(late >= _latest(tasks, numbers) - due)
    return late
