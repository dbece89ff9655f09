"""Between which times each task can run, and what no schedule can beat: bounds that need no search."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from headway.policies.shop.checking import in_order
from headway.policies.shop.problem import Problem, Task


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

    Every start in it is the end of a chain of tasks that begins at a release, at the end of a downtime, or at 0. (In a
    permutation shop one unit of time may set tasks of no length apart.)
    """
    begin = max((down.end for down in problem.downtimes), default=0)
    length = 0
    for task in problem.tasks:
        longest = max(mode.duration for mode in task.modes)
        if task.fixed_start is None:
            begin, length = max(begin, task.release), length + max(longest, int(problem.permutation))
        else:
            begin = max(begin, task.fixed_start + longest)
    return begin + length


def least_makespan(problem: Problem, found: Windows) -> int:
    """Return a makespan that no schedule beats: of the longest chain, and of the fullest resource."""
    tasks = zip(problem.tasks, found.earliest, found.after, strict=True)
    return max(*(start + shortest(task) + tail for task, start, tail in tasks), *_loads(problem, found), 0)


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
