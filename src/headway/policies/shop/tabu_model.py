"""A job shop as the arrays of tabu search, and its orientations as schedules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.policies.shop.generate import after_downtimes, downtimes
from headway.policies.shop.problem import Mode, Problem
from headway.policies.shop.schedule import Schedule, ends


class Model(Struct, frozen=True):
    """A job shop without what is under way; its tasks are numbered anew, job by job.

    Parameters
    ----------
    problem : Problem
        What it is of.
    modes : tuple of int
        By task of the problem.
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
    modes: tuple[int, ...]
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
        end = ends(self.problem, schedule)
        ordered = sorted(self.tasks, key=lambda n: (schedule.starts[n], end[n], place[n]))
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
        return Schedule(tuple(starts), self.modes)


def model_of(problem: Problem, modes: Sequence[int]) -> Model:
    """Return the arrays of a job shop in which it is chosen who runs where.

    Parameters
    ----------
    problem : Problem
        One that passes `check_shop`.
    modes : sequence of int
        By task.
    """
    chains = problem.chains or ()
    fixed = {n: task.fixed_start for n, task in enumerate(problem.tasks) if task.fixed_start is not None}
    tasks: list[int] = []
    before: list[int] = []
    release: list[int] = []
    surely: list[int] = []
    free, sure = _machine_releases(problem, fixed)
    chosen = tuple(modes)
    for chain in chains:
        job_release = 0
        for at, task in enumerate(chain):
            one = problem.tasks[task]
            if task in fixed:
                job_release = fixed[task] + one.modes[0].duration
                continue
            before.append(len(tasks) - 1 if at and chain[at - 1] not in fixed else -1)
            soonest, machine = max(one.release, job_release), _mode(problem, task, chosen).needs[0][0]
            release.append(max(soonest, free[machine]))
            surely.append(max(soonest, sure[machine] if _mode(problem, task, chosen).duration else 0))
            tasks.append(task)
    floor = max((start + problem.tasks[n].modes[0].duration for n, start in fixed.items()), default=0)
    return _linked(problem, chosen, tasks, before, (release, surely), floor)


def _linked(
    problem: Problem,
    modes: tuple[int, ...],
    tasks: list[int],
    before: list[int],
    releases: tuple[list[int], list[int]],
    floor: int,
) -> Model:
    none = len(tasks)
    after = [none] * none
    for number, one in enumerate(before):
        if one >= 0:
            after[one] = number
    duration = [_mode(problem, task, modes).duration for task in tasks]
    machine = [_mode(problem, task, modes).needs[0][0] for task in tasks]
    joined = [none if one < 0 else one for one in before]
    least = [min(mode.duration for mode in problem.tasks[task].modes) for task in tasks]
    is_flexible = any(len(problem.tasks[task].modes) > 1 for task in tasks)
    surely = [problem.tasks[task].release for task in tasks] if is_flexible else releases[1]
    where = list(range(len(tasks))) if is_flexible else machine  # as if no two tasks met on a machine
    bound = max(lower_bound(least, surely, where, joined, after), floor)
    return Model(
        problem,
        modes,
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


def check_shop(problem: Problem, where: str) -> None:
    """Raise for what is no job shop with the objective makespan.

    Raises
    ------
    ConfigError
        When it is none; names what does not fit.
    """
    if problem.chains is None or problem.kind == "project":
        raise _refusal(where, f"a {problem.kind}")
    if problem.objective != "makespan":
        raise _refusal(where, f"the objective {problem.objective}")
    if problem.blocking or problem.permutation:
        raise _refusal(where, "blocking" if problem.blocking else "one order for all machines")
    for number, task in enumerate(problem.tasks):
        if task.fixed_start is not None and any(problem.tasks[one].fixed_start is None for one in task.after):
            raise _refusal(where, f"a task under way ({problem.task_name(number)}) after one that is not")


def _refusal(where: str, what: str) -> ConfigError:
    return ConfigError(
        f"{where}: problem must be a job shop with the objective makespan, got {what}. Try shop/cp-sat or shop/headway."
    )


def _mode(problem: Problem, task: int, modes: Sequence[int]) -> Mode:
    return problem.tasks[task].modes[modes[task]]


def _machine_releases(problem: Problem, fixed: dict[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """Return when each machine is done with what is under way, and until when it surely has no room for anything."""
    spans = downtimes(problem)
    free: dict[int, int] = defaultdict(int)
    for task, start in fixed.items():
        only = problem.tasks[task].modes[0]
        machine, end = only.needs[0][0], start + only.duration
        free[machine] = max(free[machine], end)
        spans[machine] = sorted([*spans.get(machine, ()), (start, end)])
    sure: dict[int, int] = defaultdict(int)
    for machine, busy in spans.items():
        for start, stop in busy:
            if start <= sure[machine]:
                sure[machine] = max(sure[machine], stop)
        free[machine] = max(free[machine], sure[machine])
    return free, sure
