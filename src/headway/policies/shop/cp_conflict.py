"""Why a problem has no schedule, in words, where that can be had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from headway.core.nouns import Seconds
from headway.numerics import cp
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.cp_moves import add_moves
from headway.policies.shop.cp_resources import add_resources
from headway.policies.shop.cp_single import add_order, is_plain_single
from headway.policies.shop.cp_tasks import Tasks, add_tasks
from headway.policies.shop.cp_windows import Windows, shortest, windows
from headway.policies.shop.problem import Problem

MOST_TO_SHRINK = 24
"""Conflicts of more deadlines than this are told as they come: to shrink one takes a proof for each deadline."""


def too_tight(problem: Problem, found: Windows) -> str:
    """Name the jobs whose deadline precedence and releases alone rule out; empty when there are none."""
    soonest = [0] * len(problem.jobs)
    for number, task in enumerate(problem.tasks):
        soonest[task.job] = max(soonest[task.job], found.earliest[number] + shortest(task))
    late = [
        f"{problem.job_name(number)} cannot end before {end}, and must by {job.deadline}"
        for number, (job, end) in enumerate(zip(problem.jobs, soonest, strict=True))
        if job.deadline is not None and end > job.deadline
    ]
    return "; ".join(late)


def conflict(problem: Problem, budget_s: Seconds, seed: int) -> str:
    """Name deadlines that cannot all be kept, none of which can be left out where the budget allows to find that.

    Parameters
    ----------
    problem : Problem
        One without a schedule.
    budget_s : float
        Seconds of computing for the search.
    seed : int
        For the solver.
    """
    watch = Stopwatch(budget_s)
    jobs = [number for number, job in enumerate(problem.jobs) if job.deadline is not None]
    free = replace(problem, jobs=tuple(replace(job, deadline=None) for job in problem.jobs))
    tasks = build(free, windows(free))
    literals = [_deadline(tasks, problem, job) for job in jobs]
    core = _contradicting(tasks, literals, watch, seed)
    if core is None:
        return ""
    if not core:
        return "tasks that are under way, downtimes and capacities contradict each other, whatever the deadlines"
    if len(core) <= MOST_TO_SHRINK:
        core = _shrunk(tasks, literals, core, watch, seed)
    named = ", ".join(f"{problem.job_name(jobs[one])} by {problem.jobs[jobs[one]].deadline}" for one in core)
    return f"capacities, releases and downtimes leave no room for these deadlines together: {named}"


def build(problem: Problem, found: Windows) -> Tasks:
    """Return a model of every rule of a problem, without an objective."""
    tasks = add_tasks(problem, found)
    holds = add_resources(tasks)
    if problem.blocking and not problem.swap:
        add_moves(tasks, holds)
    if is_plain_single(problem):
        add_order(tasks)
    return tasks


def _deadline(tasks: Tasks, problem: Problem, job: int) -> Any:
    literal = tasks.model.new_bool_var("")
    for number, task in enumerate(problem.tasks):
        if task.job == job:
            tasks.model.add(tasks.ends[number] <= problem.jobs[job].deadline).only_enforce_if(literal)
    return literal


def _contradicting(tasks: Tasks, literals: Sequence[Any], watch: Stopwatch, seed: int) -> tuple[int, ...] | None:
    """Return which literals cannot all hold; None when time ran out."""
    if watch.is_over:
        return None
    found = cp.solve(tasks.model, budget_s=watch.left_s, workers=1, seed=seed, assumptions=literals)
    return found.conflict if found.status == "infeasible" else None


def _shrunk(tasks: Tasks, literals: list[Any], core: tuple[int, ...], watch: Stopwatch, seed: int) -> tuple[int, ...]:
    """Leave out, one by one, deadlines without which the others contradict each other still."""
    kept = list(core)
    for one in core:
        rest = [literals[other] for other in kept if other != one]
        if rest and _contradicting(tasks, rest, watch, seed) is not None:
            kept.remove(one)
    return tuple(kept)
