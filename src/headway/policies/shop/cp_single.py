"""What is known of due times on a single machine, told to a constraint program, which does not see it by itself.

Without releases no best schedule needs the machine to stand still, so the start of a job is the work of the jobs before
it; and some jobs can be put before others without a search.

Source: H. Emmons, "One-machine sequencing to minimize certain functions of job tardiness", Operations Research 17,
1969, theorem 1; with weights A. Rinnooy Kan, B. Lageweg, J. K. Lenstra, "Minimizing total costs in one-machine
scheduling", Operations Research 23, 1975.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from headway.policies.shop.cp_tasks import Tasks
from headway.policies.shop.problem import Problem

MOST_JOBS = 150
"""With more, literals for all pairs cost more than they bring."""


def is_plain_single(problem: Problem) -> bool:
    """Say whether a problem is nothing but jobs with due times on one machine."""
    is_bare = all(
        len(task.modes) == 1 and not task.release and task.fixed_start is None and task.modes[0].duration > 0
        for task in problem.tasks
    )
    is_free = not problem.downtimes and all(job.deadline is None for job in problem.jobs)
    is_due = problem.objective in ("total_tardiness", "weighted_tardiness")
    is_one_each = len({task.job for task in problem.tasks}) == problem.num_tasks <= MOST_JOBS
    return problem.kind == "single machine" and is_bare and is_free and is_due and is_one_each


def add_order(tasks: Tasks) -> None:
    """Add a literal for each two jobs, which of them is first, and say what follows from it."""
    problem, model = tasks.problem, tasks.model
    lengths = [task.modes[0].duration for task in problem.tasks]
    first: dict[tuple[int, int], Any] = {}
    for one, other in combinations(range(problem.num_tasks), 2):
        first[one, other] = model.new_bool_var("")
        first[other, one] = ~first[one, other]
    for (one, other), literal in first.items():
        model.add(tasks.starts[other] >= tasks.ends[one]).only_enforce_if(literal)
    for number, start in enumerate(tasks.starts):
        others = [other for other in range(problem.num_tasks) if other != number]
        model.add(start == sum(lengths[other] * first[other, number] for other in others))
    for number, later in enumerate(_dominated(problem)):
        for other in later:
            model.add_bool_or([first[number, other]])


def _dominated(problem: Problem) -> list[set[int]]:
    """Return for each job those that it precedes in some best schedule, all at once."""
    lengths = [task.modes[0].duration for task in problem.tasks]
    jobs = [problem.jobs[task.job] for task in problem.tasks]
    weighs = problem.objective == "weighted_tardiness"
    weights = [(job.weight if weighs else 1.0) if job.due is not None else 0.0 for job in jobs]
    due = [sum(lengths) if job.due is None else job.due for job in jobs]
    later: list[set[int]] = [set() for _ in jobs]
    earlier: list[set[int]] = [set() for _ in jobs]
    is_news = True
    while is_news:
        is_news = False
        for one in range(len(jobs)):
            for other in range(len(jobs)):
                if one == other or other in later[one] or other in earlier[one]:
                    continue
                if lengths[one] > lengths[other] or weights[one] < weights[other]:
                    continue
                soonest = lengths[other] + sum(lengths[before] for before in earlier[other])
                if due[one] <= max(due[other], soonest):
                    _put(one, other, later, earlier)
                    is_news = True
    return later


def _put(one: int, other: int, later: list[set[int]], earlier: list[set[int]]) -> None:
    """Put one job before another, with all that is before the one and after the other."""
    before, after = {one} | earlier[one], {other} | later[other]
    for first in before:
        later[first] |= after
    for last in after:
        earlier[last] |= before
