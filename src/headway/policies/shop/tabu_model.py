"""A job shop as the arrays of tabu search, and its orientations as schedules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.policies.shop.generate import after_downtimes, downtimes
from headway.policies.shop.problem import Problem
from headway.policies.shop.schedule import Schedule


class Model(Struct, frozen=True):
    """A job shop without what is under way; its tasks are numbered anew, job by job.

    Parameters
    ----------
    problem : Problem
        What it is of.
    tasks : tuple of int
        The task of the problem, by number here.
    duration, release, machine : tuple of int
        By task. A task is released when its machine is free of what runs there at first, too.
    before, after : tuple of int
        Its neighbours in the job; ``len(tasks)`` for none.
    floor : int
        When the last task that is under way ends.
    bound : int
        No schedule ends sooner.
    """

    problem: Problem
    tasks: tuple[int, ...]
    duration: tuple[int, ...]
    release: tuple[int, ...]
    machine: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    floor: int
    bound: int

    @property
    def num_tasks(self) -> int:
        """How many tasks there are to order."""
        return len(self.tasks)

    def line(self, schedule: Schedule) -> list[int]:
        """Return the tasks in an order that respects jobs, and machines as they are in a schedule."""
        place = {task: number for number, task in enumerate(self.tasks)}
        modes = self.problem.tasks
        ordered = sorted(
            self.tasks, key=lambda n: (schedule.starts[n], schedule.starts[n] + modes[n].modes[0].duration, place[n])
        )
        return [place[task] for task in ordered]

    def schedule(self, line: Iterable[int]) -> Schedule:
        """Return the schedule in which each task starts as soon as this order allows, between downtimes."""
        starts = [task.fixed_start or 0 for task in self.problem.tasks]
        downs = downtimes(self.problem)
        end, free = [0] * (self.num_tasks + 1), defaultdict[int, int](int)
        for number in line:
            machine, duration = self.machine[number], self.duration[number]
            soonest = max(end[self.before[number]], free[machine], self.release[number])
            begin = after_downtimes(downs.get(machine, ()), soonest, duration)
            starts[self.tasks[number]] = begin
            end[number] = begin + duration
            if duration:
                free[machine] = end[number]
        return Schedule(tuple(starts), (0,) * len(starts))


def model_of(problem: Problem, where: str) -> Model:
    """Return the arrays of a job shop.

    Parameters
    ----------
    problem : Problem
        A job shop that is to be done soon.
    where : str
        Who asks, for errors.

    Raises
    ------
    ConfigError
        When it is none.
    """
    chains = _chains(problem, where)
    fixed = {n: task.fixed_start for n, task in enumerate(problem.tasks) if task.fixed_start is not None}
    tasks: list[int] = []
    before: list[int] = []
    release: list[int] = []
    surely: list[int] = []
    free, sure = _machine_releases(problem, fixed)
    for chain in chains:
        job_release = 0
        for at, task in enumerate(chain):
            one = problem.tasks[task]
            if task in fixed:
                if at and chain[at - 1] not in fixed:
                    raise _refusal(where, f"a task under way ({problem.task_name(task)}) after one that is not")
                job_release = fixed[task] + one.modes[0].duration
                continue
            before.append(len(tasks) - 1 if at and chain[at - 1] not in fixed else -1)
            soonest, machine = max(one.release, job_release), _machine(problem, task)
            release.append(max(soonest, free[machine]))
            surely.append(max(soonest, sure[machine]))
            tasks.append(task)
    floor = max((start + problem.tasks[n].modes[0].duration for n, start in fixed.items()), default=0)
    return _linked(problem, tasks, before, (release, surely), floor)


def _linked(
    problem: Problem, tasks: list[int], before: list[int], releases: tuple[list[int], list[int]], floor: int
) -> Model:
    none = len(tasks)
    after = [none] * none
    for number, one in enumerate(before):
        if one >= 0:
            after[one] = number
    duration = [problem.tasks[task].modes[0].duration for task in tasks]
    machine = [_machine(problem, task) for task in tasks]
    joined = [none if one < 0 else one for one in before]
    bound = max(lower_bound(duration, releases[1], machine, joined, after), floor)
    return Model(
        problem,
        tuple(tasks),
        (*duration, 0),
        (*releases[0], 0),
        (*machine, 0),
        (*joined, none),
        (*after, none),
        floor,
        bound,
    )


def lower_bound(
    duration: Sequence[int], release: Sequence[int], machine: Sequence[int], before: Sequence[int], after: Sequence[int]
) -> int:
    """Return a time before which no schedule ends: the longest job, or a machine with what leads to and from it."""
    num = len(duration)
    head, tail = [*release, 0], [0] * (num + 1)
    for number in range(num):  # a job's tasks are numbered in order
        if before[number] < num:
            head[number] = max(release[number], head[before[number]] + duration[before[number]])
    for number in range(num - 1, -1, -1):
        tail[number] = duration[number] + tail[after[number]]
    on: dict[int, list[int]] = defaultdict(list)
    for number in range(num):
        on[machine[number]].append(number)
    best = max((head[n] + tail[n] for n in range(num)), default=0)
    for tasks in on.values():
        tails = min(tail[n] - duration[n] for n in tasks)
        best = max(best, min(head[n] for n in tasks) + sum(duration[n] for n in tasks) + tails)
    return best


def _chains(problem: Problem, where: str) -> tuple[tuple[int, ...], ...]:
    chains = problem.chains
    if chains is None or problem.kind in ("project", "flexible job shop"):
        raise _refusal(where, f"a {problem.kind}")
    if problem.objective != "makespan":
        raise _refusal(where, f"the objective {problem.objective}")
    if problem.blocking or problem.permutation:
        raise _refusal(where, "blocking" if problem.blocking else "one order for all machines")
    return chains


def _refusal(where: str, what: str) -> ConfigError:
    return ConfigError(
        f"{where}: problem must be a job shop with the objective makespan, got {what}. Try shop/cp-sat or shop/headway."
    )


def _machine(problem: Problem, task: int) -> int:
    return problem.tasks[task].modes[0].needs[0][0]


def _machine_releases(problem: Problem, fixed: dict[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """Return when each machine is done with what is under way, and until when it surely has no room for anything."""
    spans = downtimes(problem)
    free: dict[int, int] = defaultdict(int)
    for task, start in fixed.items():
        machine, end = _machine(problem, task), start + problem.tasks[task].modes[0].duration
        free[machine] = max(free[machine], end)
        spans[machine] = sorted([*spans.get(machine, ()), (start, end)])
    sure: dict[int, int] = defaultdict(int)
    for machine, busy in spans.items():
        for start, stop in busy:
            if start <= sure[machine]:
                sure[machine] = max(sure[machine], stop)
        free[machine] = max(free[machine], sure[machine])
    return free, sure
