"""How a problem becomes machines, and jobs that arrive."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.shop.nouns import SLOT, ShopJob
from headway.policies.shop.problem import Problem, Task


def machines_of(problem: Problem) -> list[Resource]:
    """Return the machines of a problem, in the order in which its tasks count them."""
    return [
        Resource(id=problem.resource_name(place), kind="machine", capacity={SLOT: float(capacity)})
        for place, capacity in enumerate(problem.capacity)
    ]


def jobs_of(problem: Problem, arrivals_s: Sequence[Seconds] = ()) -> list[ShopJob]:
    """Return the jobs of a problem.

    Parameters
    ----------
    problem : Problem
        One that passes `checking.check`.
    arrivals_s : sequence of float
        When each job arrives, in seconds, >= 0; all of them at 0 by default.

    Raises
    ------
    ConfigError
        When a task waits for one of another job, is under way, or machines block.
    """
    if problem.blocking:
        raise ConfigError(f"problem {problem.name}: machines must not block here, they do. Set blocking = False.")
    members: list[list[int]] = [[] for _ in problem.jobs]
    for number, task in enumerate(problem.tasks):
        members[task.job].append(number)
    return [
        _job(problem, job, numbers, arrivals_s[job] if arrivals_s else 0.0)
        for job, numbers in enumerate(members)
        if numbers
    ]


def _job(problem: Problem, job: int, numbers: list[int], arrival_s: Seconds) -> ShopJob:
    places = {number: place for place, number in enumerate(numbers)}
    about = problem.jobs[job]
    return ShopJob(
        id=problem.job_name(job),
        kind="job",
        arrival_s=arrival_s,
        tasks=tuple([_task(problem, number, places) for number in numbers]),
        due_s=None if about.due is None else float(about.due),
        deadline_s=None if about.deadline is None else float(about.deadline),
        weight=about.weight,
    )


def _task(problem: Problem, number: int, places: dict[int, int]) -> Task:
    task, name = problem.tasks[number], problem.task_name(number)
    if strangers := [before for before in task.after if before not in places]:
        other = problem.task_name(strangers[0])
        raise ConfigError(f"{problem.name}: {name} must wait for its own job alone, got {other}. Make them one job.")
    if task.fixed_start is not None:
        raise ConfigError(f"problem {problem.name}: {name} must not have begun, it has. Leave fixed_start out.")
    return replace(task, job=0, after=tuple([places[before] for before in task.after]))


def ids_of(problem: Problem) -> list[Id]:
    """Return the id that each task of a problem has once its job has arrived, in the order of its tasks."""
    seen = [0] * len(problem.jobs)
    found = []
    for task in problem.tasks:
        found.append(f"{problem.job_name(task.job)}.{seen[task.job]}")
        seen[task.job] += 1
    return found
