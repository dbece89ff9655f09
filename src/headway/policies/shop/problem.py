"""A problem as data: tasks with modes, precedence, resources, and an objective.

One form holds job shops (flexible, blocking, or not), flow shops, single machines and projects. Times are whole numbers
of the problem's own unit; where a problem is played in virtual time, one unit counts as a second.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

Objective: TypeAlias = Literal["makespan", "total_tardiness", "weighted_tardiness", "total_flow_time"]


class Mode(Struct, frozen=True):
    """One way to run a task.

    Parameters
    ----------
    duration : int
        How long it takes, >= 0.
    needs : tuple of (int, int)
        Resource and amount, from start to end.
    """

    duration: int
    needs: tuple[tuple[int, int], ...] = ()


class Task(Struct, frozen=True):
    """What runs without a break, in one of its modes.

    Parameters
    ----------
    modes : tuple of Mode
        The ways to run it; at least one.
    job : int
        Which job it belongs to.
    after : tuple of int
        Tasks that must have ended when it starts.
    release : int
        It starts no sooner, >= 0.
    fixed_start : int or None
        When it has started, where it is under way already; its only mode is then the one that it runs in.
    name : str
        For people.
    """

    modes: tuple[Mode, ...]
    job: int = 0
    after: tuple[int, ...] = ()
    release: int = 0
    fixed_start: int | None = None
    name: str = ""


class Job(Struct, frozen=True):
    """What somebody waits for: done when the last of its tasks is.

    Parameters
    ----------
    due : int or None
        When it should be done.
    deadline : int or None
        When it must be done.
    weight : float
        How much its lateness counts, >= 0.
    name : str
        For people.
    """

    due: int | None = None
    deadline: int | None = None
    weight: float = 1.0
    name: str = ""


class Downtime(Struct, frozen=True):
    """A span in which nothing may run on a resource; a task does not go on after it."""

    resource: int
    start: int
    end: int


class Problem(Struct, frozen=True, kw_only=True, dict=True):
    """What is to be planned.

    Parameters
    ----------
    name : str
        For people.
    tasks : tuple of Task
        Numbered by their place.
    jobs : tuple of Job
        Numbered by their place.
    capacity : tuple of int
        Of each resource, >= 1; that of a machine is 1.
    objective : str
        ``"makespan"`` (the end of the last task), ``"total_tardiness"``, ``"weighted_tardiness"`` (over jobs, against
        their due times) or ``"total_flow_time"`` (the sum of the jobs' ends).
    blocking : bool
        Whether a job keeps its machine until the machine of its next task is free.
    swap : bool
        Whether blocked jobs that wait in a circle may all move at once; without it they wait for ever.
    permutation : bool
        Whether all machines of a flow shop must take the jobs in the same order.
    downtimes : tuple of Downtime
        Known in advance.
    best_known, bound : int or None
        The best objective and the best lower bound that the source of the problem knows.
    resources : tuple of str
        Names of resources, for people; empty for numbers.
    """

    name: str
    tasks: tuple[Task, ...]
    jobs: tuple[Job, ...]
    capacity: tuple[int, ...]
    objective: Objective = "makespan"
    blocking: bool = False
    swap: bool = True
    permutation: bool = False
    downtimes: tuple[Downtime, ...] = ()
    best_known: int | None = None
    bound: int | None = None
    resources: tuple[str, ...] = ()

    @property
    def num_tasks(self) -> int:
        """How many tasks there are."""
        return len(self.tasks)

    @property
    def num_resources(self) -> int:
        """How many resources there are."""
        return len(self.capacity)

    @functools.cached_property
    def chains(self) -> tuple[tuple[int, ...], ...] | None:
        """The tasks of each job in order, where precedence is a chain within every job, else None."""
        found: list[list[int]] = [[] for _ in self.jobs]
        for place, task in enumerate(self.tasks):
            chain = found[task.job]
            if task.after != ((chain[-1],) if chain else ()):
                return None
            chain.append(place)
        return tuple(tuple(chain) for chain in found)

    @functools.cached_property
    def kind(self) -> str:
        """What people call it: single machine, flow shop, job shop, flexible job shop or project."""
        if self.chains is None or not all(_is_on_one_machine(task, self.capacity) for task in self.tasks):
            return "project"
        if any(len(task.modes) > 1 for task in self.tasks):
            return "flexible job shop"
        if self.num_resources == 1:
            return "single machine" if all(len(chain) <= 1 for chain in self.chains) else "job shop"
        routes = {tuple(self.tasks[task].modes[0].needs[0][0] for task in chain) for chain in self.chains}
        return "flow shop" if len(routes) == 1 else "job shop"

    def resource_name(self, resource: int) -> str:
        """Return what people call a resource."""
        return self.resources[resource] if self.resources else f"M{resource}"

    def job_name(self, job: int) -> str:
        """Return what people call a job."""
        return self.jobs[job].name or f"J{job}"

    def task_name(self, task: int) -> str:
        """Return what people call a task."""
        return self.tasks[task].name or f"{self.job_name(self.tasks[task].job)}.{self._place_in_job[task]}"

    @functools.cached_property
    def _place_in_job(self) -> tuple[int, ...]:
        seen = [0] * len(self.jobs)
        places = []
        for task in self.tasks:
            places.append(seen[task.job])
            seen[task.job] += 1
        return tuple(places)


def _is_on_one_machine(task: Task, capacity: Sequence[int]) -> bool:
    return all(len(mode.needs) == 1 and capacity[mode.needs[0][0]] == 1 == mode.needs[0][1] for mode in task.modes)
