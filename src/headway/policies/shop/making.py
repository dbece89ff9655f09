"""Problems from the tables in which people write them down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headway.policies.shop.problem import Job, Mode, Problem, Task

Alternatives = Sequence[tuple[int, int]]
"""(machine, duration) pairs of which one is to be chosen."""


def flexible_job_shop(name: str, rows: Sequence[Sequence[Alternatives]], **more: Any) -> Problem:
    """Make a flexible job shop.

    Parameters
    ----------
    name : str
        For people.
    rows : sequence of sequence of sequence of (int, int)
        For each job and each of its tasks, the machines that could run it, with durations.
    **more
        Further fields of `Problem`; `jobs` and `capacity` where their defaults do not fit.
    """
    tasks: list[Task] = []
    for job, row in enumerate(rows):
        for place, alternatives in enumerate(row):
            modes = tuple(Mode(duration, ((machine, 1),)) for machine, duration in alternatives)
            tasks.append(Task(modes, job=job, after=(len(tasks) - 1,) if place else ()))
    machines = [machine for row in rows for alternatives in row for machine, _ in alternatives]
    more.setdefault("jobs", tuple(Job() for _ in rows))
    more.setdefault("capacity", (1,) * (max(machines, default=-1) + 1))
    return Problem(name=name, tasks=tuple(tasks), **more)


def job_shop(name: str, rows: Sequence[Sequence[tuple[int, int]]], **more: Any) -> Problem:
    """Make a job shop from the (machine, duration) pairs of each job, in order.

    Examples
    --------
    >>> job_shop("two", [[(0, 3), (1, 2)], [(1, 4), (0, 1)]]).kind
    'job shop'
    """
    return flexible_job_shop(name, [[[pair] for pair in row] for row in rows], **more)


def flow_shop(name: str, durations: Sequence[Sequence[int]], **more: Any) -> Problem:
    """Make a flow shop from the durations of each job on machines 0, 1, 2, ..."""
    return job_shop(name, [list(enumerate(row)) for row in durations], **more)


def single_machine(
    name: str,
    durations: Sequence[int],
    due: Sequence[int],
    weights: Sequence[float] | None = None,
    **more: Any,
) -> Problem:
    """Make a single machine with due times; the objective is total tardiness, weighted where there are weights."""
    weighed = [1.0] * len(durations) if weights is None else weights
    more.setdefault("objective", "total_tardiness" if weights is None else "weighted_tardiness")
    more.setdefault("jobs", tuple(Job(due=d, weight=w) for d, w in zip(due, weighed, strict=True)))
    return job_shop(name, [[(0, duration)] for duration in durations], **more)


def project(
    name: str,
    durations: Sequence[int],
    needs: Sequence[Sequence[int]],
    successors: Sequence[Sequence[int]],
    capacity: Sequence[int],
    **more: Any,
) -> Problem:
    """Make a project: activities with successors that share resources.

    Parameters
    ----------
    name : str
        For people.
    durations : sequence of int
        Of each activity.
    needs : sequence of sequence of int
        Of each activity, how much of each resource.
    successors : sequence of sequence of int
        Of each activity, those that wait for its end.
    capacity : sequence of int
        Of each resource.
    **more
        Further fields of `Problem`.
    """
    after: list[list[int]] = [[] for _ in durations]
    for one, following in enumerate(successors):
        for other in following:
            after[other].append(one)
    tasks = tuple(
        Task((Mode(duration, tuple((r, n) for r, n in enumerate(need) if n)),), after=tuple(before), name=f"A{number}")
        for number, (duration, need, before) in enumerate(zip(durations, needs, after, strict=True))
    )
    more.setdefault("jobs", (Job(name="project"),))
    return Problem(name=name, tasks=tasks, capacity=tuple(capacity), **more)
