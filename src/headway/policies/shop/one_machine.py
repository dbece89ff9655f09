"""What a rule for one machine needs of a problem, and the schedule that an order of its jobs makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import ConfigError
from headway.policies.shop.generate import after_downtimes, downtimes
from headway.policies.shop.problem import Problem
from headway.policies.shop.schedule import Schedule

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OneMachine:
    """The tasks of a single machine that are still to be sequenced, as arrays.

    Parameters
    ----------
    tasks : array of int, [jobs]
        Their places in the problem.
    durations, due, weights : array of float, [jobs]
        What rules look at; `due` is far away where there is none.
    begin : int
        From when on the machine is free for them.
    """

    tasks: NDArray[np.int64]
    durations: Floats
    due: Floats
    weights: Floats
    begin: int


def as_one_machine(problem: Problem, where: str) -> OneMachine:
    """Take the arrays out of a problem; tasks under way are left out.

    Parameters
    ----------
    problem : Problem
        One that passes `checking.check`.
    where : str
        Who asks, for the error.

    Raises
    ------
    ConfigError
        When it is no single machine.
    """
    if problem.kind != "single machine":
        raise ConfigError(f"{where}: problem must be a single machine, got a {problem.kind}. Try shop/headway.")
    tasks = [task for task, one in enumerate(problem.tasks) if one.fixed_start is None]
    jobs = [problem.jobs[problem.tasks[task].job] for task in tasks]
    durations = np.array([problem.tasks[task].modes[0].duration for task in tasks], dtype=np.float64)
    begin = max((_end(problem, task) for task in range(problem.num_tasks)), default=0)
    never = 10.0 * (begin + durations.sum() + 1.0)
    due = np.array([never if job.due is None else job.due for job in jobs], dtype=np.float64)
    weights = np.array([job.weight for job in jobs], dtype=np.float64)
    return OneMachine(np.array(tasks, dtype=np.int64), durations, due, weights, begin)


def in_sequence(problem: Problem, order: Sequence[int], begin: int = 0) -> Schedule:
    """Start tasks one after the other, each as soon as its release and the downtimes let it.

    Parameters
    ----------
    problem : Problem
        A single machine.
    order : sequence of int
        All tasks that are not under way, by their places in the problem.
    begin : int
        When the first may start.
    """
    starts = [task.fixed_start or 0 for task in problem.tasks]
    downs = downtimes(problem).get(0, ())
    now = begin
    for task in order:
        duration = problem.tasks[task].modes[0].duration
        now = after_downtimes(downs, max(now, problem.tasks[task].release), duration)
        starts[task] = now
        now += duration
    return Schedule(starts=tuple(starts), modes=(0,) * problem.num_tasks)


def check_plain(problem: Problem, where: str) -> None:
    """Raise where more than the order matters, so that no search through orders alone could prove anything.

    Raises
    ------
    ConfigError
        When a task is released later, a job has a deadline, the machine is down, or it is free before something that is
        under way.
    """
    got = _beyond_order(problem)
    if got:
        raise ConfigError(f"{where}: problem must be all in the order of its jobs, got {got}. Try shop/cp-sat.")


def _beyond_order(problem: Problem) -> str:
    if any(task.release for task in problem.tasks if task.fixed_start is None):
        return "releases"
    if problem.downtimes:
        return "downtimes"
    if any(job.deadline is not None for job in problem.jobs):
        return "deadlines"
    now = 0
    under_way = [(one.fixed_start, one.modes[0].duration) for one in problem.tasks if one.fixed_start is not None]
    for start, duration in sorted(under_way):
        if start > now:
            return "room before what is under way"
        now = max(now, start + duration)
    return ""


def _end(problem: Problem, task: int) -> int:
    fixed = problem.tasks[task].fixed_start
    return 0 if fixed is None else fixed + problem.tasks[task].modes[0].duration
