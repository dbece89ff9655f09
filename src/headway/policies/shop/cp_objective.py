"""What a constraint program is to make small."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from headway.policies.shop.cp_tasks import Tasks
from headway.policies.shop.cp_windows import waiting
from headway.policies.shop.problem import Job, Problem

FINEST = 10**6
"""Weights count as whole multiples of one part in so many, at the finest."""


def add_objective(tasks: Tasks, least: int = 0) -> int:
    """Say what is to be minimised.

    Parameters
    ----------
    tasks : Tasks
        Of the problem.
    least : int
        A makespan that no schedule beats, >= 0.

    Returns
    -------
    int
        How many units of what is minimised make one of the problem's objective.
    """
    model, problem = tasks.model, tasks.problem
    if problem.objective == "makespan":
        last = [number for number, others in enumerate(waiting(problem)) if not others]
        model.minimize(_latest(tasks, last, least))
        return 1
    members: list[list[int]] = [[] for _ in problem.jobs]
    for number in _last_of_jobs(problem):
        members[problem.tasks[number].job].append(number)
    if problem.objective == "total_flow_time":
        model.minimize(sum(_latest(tasks, numbers) for numbers in members if numbers))
        return 1
    scale = _scale(problem)
    late = [
        _tardiness(tasks, numbers, job.due) * round(_weight(problem, job) * scale)
        for job, numbers in zip(problem.jobs, members, strict=True)
        if numbers and job.due is not None
    ]
    if late:
        model.minimize(sum(late))
    return scale


def _scale(problem: Problem) -> int:
    """Return the number that makes all weights whole, or the finest there is."""
    if problem.objective != "weighted_tardiness":
        return 1
    return min(math.lcm(*(_weight(problem, job).denominator for job in problem.jobs)), FINEST)


def _weight(problem: Problem, job: Job) -> Fraction:
    return Fraction(job.weight).limit_denominator(FINEST) if problem.objective == "weighted_tardiness" else Fraction(1)


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
