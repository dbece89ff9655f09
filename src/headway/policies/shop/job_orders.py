"""Schedules from an order of jobs, for shops whose tasks cannot be placed one by one: searched from rule to rule."""

from __future__ import annotations

import math

import numpy as np

from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.flow_model import in_line
from headway.policies.shop.incumbent import Incumbent
from headway.policies.shop.insertion import insert_jobs
from headway.policies.shop.problem import Problem
from headway.policies.shop.schedule import Schedule, faults, objective

PATIENCE = 20
"""Orders without a gain, times jobs, after which a search ends."""


def schedule_by_order(problem: Problem, order: list[int]) -> Schedule | None:
    """Make a schedule of an order of jobs, where machines block or must agree on an order."""
    return in_line(problem, order) if problem.permutation else insert_jobs(problem, order)


def by_rules(problem: Problem) -> list[list[int]]:
    """Return orders of jobs: by due time, by release, by work, most and least first."""
    num = len(problem.jobs)
    work, release = [0.0] * num, [math.inf] * num
    for task in problem.tasks:
        work[task.job] += min(mode.duration for mode in task.modes)
        release[task.job] = min(release[task.job], task.release)
    dues = [job.due if job.due is not None else job.deadline for job in problem.jobs]
    keys = [
        [math.inf if due is None else float(due) for due in dues],
        release,
        [-one for one in work],
        work,
        [one / job.weight if job.weight else math.inf for one, job in zip(work, problem.jobs, strict=True)],
    ]
    return [sorted(range(num), key=key.__getitem__) for key in keys]


def of_schedule(problem: Problem, schedule: Schedule) -> list[int]:
    """Return the jobs in the order in which a schedule begins them."""
    begins = [math.inf] * len(problem.jobs)
    for task, start in zip(problem.tasks, schedule.starts, strict=True):
        begins[task.job] = min(begins[task.job], start)
    return sorted(range(len(begins)), key=begins.__getitem__)


def search_orders(best: Incumbent, rng: np.random.Generator, watch: Stopwatch) -> None:
    """Move jobs about in the best order as long as that gains, from what there is, from rules, and then from dice."""
    known = [of_schedule(best.problem, best.schedule)] if best.schedule is not None else []
    order, cost = list(range(len(best.problem.jobs))), math.inf
    for one in [*known, *by_rules(best.problem)]:
        made = _made(best, one, cost)
        if made < cost:
            order, cost = one, made
        if watch.is_over:
            return
    idle = 0
    while idle < PATIENCE * len(order) and not watch.is_over and not best.is_proven:
        idle += 1
        moved = list(order)
        moved.insert(int(rng.integers(len(order))), moved.pop(int(rng.integers(len(order)))))
        made = _made(best, moved, cost)
        if made <= cost:
            idle = idle if made == cost else 0
            order, cost = moved, made


def _made(best: Incumbent, order: list[int], most: float) -> float:
    """Offer the schedule of an order; returns what it costs, or infinity when that is above `most` or it is no good."""
    schedule = schedule_by_order(best.problem, order)
    if schedule is None:
        return math.inf
    cost = objective(best.problem, schedule)
    is_sound = best.offer(schedule) or (cost <= most and not faults(best.problem, schedule))
    return cost if is_sound else math.inf
