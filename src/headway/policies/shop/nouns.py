"""What the shop adds to the core's nouns and events: jobs that are made of tasks, and what happens to tasks."""

from __future__ import annotations

from headway.core.events import Arrived, Event, Finished
from headway.core.nouns import Id, Seconds, Work
from headway.policies.shop.problem import Task

SLOT = "slot"
"""The kind of capacity that machines have: one slot, or as many as a cumulative resource has units."""


class ShopJob(Work, frozen=True, kw_only=True):
    """A job of a shop, with all of its tasks.

    Parameters
    ----------
    tasks : tuple of Task
        What must be done, >= 1; resources are counted in the order of the shop's machines. ``after`` names places in
        this very tuple, ``release`` counts from the arrival of the job, and ``job`` is not read.
    due_s : float or None
        When it should be finished, in seconds since the start of the run; None for no due date.
    weight : float
        How much its lateness counts, >= 0; 1 by default.
    """

    tasks: tuple[Task, ...]
    due_s: Seconds | None = None
    weight: float = 1.0


class ShopJobArrived(Arrived, frozen=True, gc=False, kw_only=True):
    """The job `work` is here, with its tasks."""

    work: ShopJob


class ShopJobFinished(Finished, frozen=True, gc=False, kw_only=True):
    """The job `id` is complete, `flow_time_s` after its arrival, `tardiness_s` after it was due; 0 when not late."""

    flow_time_s: Seconds
    tardiness_s: Seconds


def finished(job: ShopJob, at_s: Seconds) -> ShopJobFinished:
    """Return that a job is complete."""
    late_s = 0.0 if job.due_s is None else max(at_s - job.due_s, 0.0)
    return ShopJobFinished(at_s=at_s, id=job.id, flow_time_s=at_s - job.arrival_s, tardiness_s=late_s)


class TaskDone(Event, frozen=True, gc=False, kw_only=True):
    """The task `task`, which began at `start_s`, is complete on `machine`: the first of those that it held."""

    task: Id
    machine: Id
    start_s: Seconds = 0.0


class TaskReleased(Event, frozen=True, gc=False, kw_only=True):
    """The time before which the task `task` could not begin has come."""

    task: Id


class TaskStopped(Event, frozen=True, gc=False, kw_only=True):
    """The task `task` was taken off `machine` before it was complete; it waits again, and begins anew."""

    task: Id
    machine: Id
    start_s: Seconds = 0.0


def task_id(job: Id, place: int) -> Id:
    """Return the id of a job's task: ``"job.op"``."""
    return f"{job}.{place}"


def job_of(task: Id) -> Id:
    """Return the job that a task belongs to."""
    return task.rpartition(".")[0]
