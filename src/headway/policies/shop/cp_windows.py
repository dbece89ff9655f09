"""Between which times each task can run, and what no schedule can beat: bounds that need no search."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from headway.numerics.spreading import least_level
from headway.policies.shop.checking import in_order
from headway.policies.shop.problem import Mode, Problem, Task


class Windows(Struct, frozen=True):
    """What precedence, releases and deadlines alone say.

    Parameters
    ----------
    earliest : tuple of int
        Start of each task, at the soonest.
    latest : tuple of int
        End of each task, at the latest.
    after : tuple of int
        What must follow the end of each task until the last end: its tail.
    horizon : int
        Some best schedule has ended by then.
    """

    earliest: tuple[int, ...]
    latest: tuple[int, ...]
    after: tuple[int, ...]
    horizon: int


def shortest(task: Task) -> int:
    """Return the duration of a task's fastest mode."""
    return min(mode.duration for mode in task.modes)


def windows(problem: Problem, most: int | None = None) -> Windows:
    """Return between which times each task can run.

    Parameters
    ----------
    problem : Problem
        One that passes `checking.check`.
    most : int or None
        A makespan that need not be exceeded, when one is known.
    """
    order, following = in_order(problem), waiting(problem)
    horizon = _horizon(problem) if most is None else min(most, _horizon(problem))
    after = [0] * problem.num_tasks
    latest = [horizon] * problem.num_tasks
    for number in reversed(order):
        deadline = problem.jobs[problem.tasks[number].job].deadline
        latest[number] = horizon if deadline is None else min(horizon, deadline)
        for other in following[number]:
            needed = shortest(problem.tasks[other])
            after[number] = max(after[number], after[other] + needed)
            latest[number] = min(latest[number], latest[other] - needed)
    return Windows(tuple(_earliest(problem, order)), tuple(latest), tuple(after), horizon)


def waiting(problem: Problem) -> list[list[int]]:
    """Return, for each task, those that wait for its end; tasks under way wait for nothing."""
    following: list[list[int]] = [[] for _ in problem.tasks]
    for number, task in enumerate(problem.tasks):
        if task.fixed_start is None:
            for before in task.after:
                following[before].append(number)
    return following


def _earliest(problem: Problem, order: list[int]) -> list[int]:
    earliest = [0] * problem.num_tasks
    for number in order:
        task = problem.tasks[number]
        if task.fixed_start is not None:
            earliest[number] = task.fixed_start
            continue
        ready = [earliest[before] + shortest(problem.tasks[before]) for before in task.after]
        earliest[number] = max(task.release, *ready) if ready else task.release
    return earliest


def _horizon(problem: Problem) -> int:
    """Return an end that a schedule without needless waiting keeps.

    Every start in it is the end of a chain of tasks that begins at a release, at the end of a downtime, or at 0.
    """
    begin = max((down.end for down in problem.downtimes), default=0)
    length = 0
    for task in problem.tasks:
        longest = max(mode.duration for mode in task.modes)
        if task.fixed_start is None:
            begin, length = max(begin, task.release), length + longest
        else:
            begin = max(begin, task.fixed_start + longest)
    return begin + length


def least_makespan(problem: Problem, found: Windows) -> int:
    """Return a makespan that no schedule beats: of the longest chain, of the fullest resource, of work well spread."""
    tasks = zip(problem.tasks, found.earliest, found.after, strict=True)
    longest = max(start + shortest(task) + tail for task, start, tail in tasks)
    return max(longest, *_loads(problem, found), _spread(problem, found))


def _spread(problem: Problem, found: Windows) -> int:
    """Return when all resources can be done at the soonest where tasks choose theirs, if tasks could be split."""
    if all(len(task.modes) == 1 for task in problem.tasks):
        return 0
    pieces = [[_areas(mode) for mode in task.modes] for task in problem.tasks]
    users: dict[int, list[int]] = defaultdict(list)
    for number, options in enumerate(pieces):
        for resource in {resource for option in options for resource in option}:
            users[resource].append(number)
    begins = {
        resource: float(min(found.earliest[one] for one in tasks) + min(found.after[one] for one in tasks))
        for resource, tasks in users.items()
    }
    level = least_level(pieces, {resource: float(problem.capacity[resource]) for resource in users}, begins)
    return math.ceil(level - 1e-6 * max(level, 1.0))


def _areas(mode: Mode) -> dict[int, float]:
    """Return duration times amount by resource, without nothings."""
    return {resource: float(mode.duration * amount) for resource, amount in mode.needs if mode.duration * amount}


def _loads(problem: Problem, found: Windows) -> Iterable[int]:
    """Yield for each resource when it is done at the soonest: all its work between the first head and the last tail."""
    work: dict[int, int] = defaultdict(int)
    users: dict[int, list[int]] = defaultdict(list)
    for number, task in enumerate(problem.tasks):
        for resource, least in _least_use(task).items():
            work[resource] += least
            users[resource].append(number)
    for resource, tasks in users.items():
        head = min(found.earliest[number] for number in tasks)
        tail = min(found.after[number] for number in tasks)
        yield head + -(-work[resource] // problem.capacity[resource]) + tail


def _least_use(task: Task) -> dict[int, int]:
    """Return the least duration times amount that a task takes of each resource that all of its modes use."""
    areas = [{resource: mode.duration * amount for resource, amount in mode.needs} for mode in task.modes]
    shared = set.intersection(*(set(area) for area in areas))
    return {resource: least for resource in shared if (least := min(area[resource] for area in areas)) > 0}
