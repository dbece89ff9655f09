"""A schedule as data, what it is worth, and an independent check of every rule of its problem."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from msgspec import Struct

from headway.policies.shop.circles import Stays, circles
from headway.policies.shop.problem import Mode, Problem


class Schedule(Struct, frozen=True):
    """When each task starts, and in which mode.

    Parameters
    ----------
    starts : tuple of int
        By task.
    modes : tuple of int
        By task, the place of its mode in `Task.modes`.
    """

    starts: tuple[int, ...]
    modes: tuple[int, ...]


def mode_of(problem: Problem, schedule: Schedule, task: int) -> Mode:
    """Return the mode in which a task runs."""
    return problem.tasks[task].modes[schedule.modes[task]]


def ends(problem: Problem, schedule: Schedule) -> list[int]:
    """Return when each task ends."""
    return [
        start + task.modes[mode].duration
        for start, task, mode in zip(schedule.starts, problem.tasks, schedule.modes, strict=True)
    ]


def job_ends(problem: Problem, schedule: Schedule) -> list[int]:
    """Return when the last task of each job ends; 0 for a job without tasks."""
    found = [0] * len(problem.jobs)
    for task, end in zip(problem.tasks, ends(problem, schedule), strict=True):
        found[task.job] = max(found[task.job], end)
    return found


def objective(problem: Problem, schedule: Schedule) -> float:
    """Return what the schedule costs; smaller is better."""
    done = job_ends(problem, schedule)
    if problem.objective == "makespan":
        return max(done, default=0)
    if problem.objective == "total_flow_time":
        return sum(done)
    late = [max(end - job.due, 0) if job.due is not None else 0 for job, end in zip(problem.jobs, done, strict=True)]
    if problem.objective == "total_tardiness":
        return sum(late)
    return sum(job.weight * one for job, one in zip(problem.jobs, late, strict=True))


def faults(problem: Problem, schedule: Schedule) -> list[str]:
    """Return what is wrong with a schedule, a sentence each; empty when it keeps every rule of the problem."""
    if not len(schedule.starts) == len(schedule.modes) == problem.num_tasks:
        return [f"it must place {problem.num_tasks} tasks, and places {len(schedule.starts)}"]
    wrong = [n for n, task in enumerate(problem.tasks) if not 0 <= schedule.modes[n] < len(task.modes)]
    if wrong:
        return [f"{problem.task_name(n)} has no mode {schedule.modes[n]}" for n in wrong]
    found = [*_of_tasks(problem, schedule), *_of_jobs(problem, schedule), *_of_resources(problem, schedule)]
    if problem.permutation:
        found.extend(_of_order(problem, schedule))
    if problem.blocking and not problem.swap:
        found.extend(circles(problem, Stays(schedule.starts, leaves(problem, schedule), schedule.modes)))
    return found


def leaves(problem: Problem, schedule: Schedule) -> list[int]:
    """Return when each task leaves its resources: at its end, or when its job moves on where machines block."""
    left = ends(problem, schedule)
    if problem.blocking:
        for number, task in enumerate(problem.tasks):
            for before in task.after:
                left[before] = max(left[before], schedule.starts[number])
    return left


def _of_tasks(problem: Problem, schedule: Schedule) -> Iterator[str]:
    end = ends(problem, schedule)
    for number, task in enumerate(problem.tasks):
        start, name = schedule.starts[number], problem.task_name(number)
        if task.fixed_start is not None and start != task.fixed_start:
            yield f"{name} has started at {task.fixed_start}, not at {start}"
        elif start < task.release:
            yield f"{name} starts at {start}, before its release at {task.release}"
        for before in task.after:
            if task.fixed_start is None and start < end[before]:
                yield f"{name} starts at {start}, before {problem.task_name(before)} ends at {end[before]}"


def _of_jobs(problem: Problem, schedule: Schedule) -> Iterator[str]:
    for number, (job, end) in enumerate(zip(problem.jobs, job_ends(problem, schedule), strict=True)):
        if job.deadline is not None and end > job.deadline:
            yield f"{problem.job_name(number)} ends at {end}, after its deadline at {job.deadline}"


def _of_resources(problem: Problem, schedule: Schedule) -> Iterator[str]:
    use = _use(problem, schedule)
    for resource, spans in use.items():
        yield from _of_capacity(problem, resource, spans)
        for down in problem.downtimes:
            if down.resource != resource:
                continue
            for start, end, _, task in spans:
                if start < down.end and down.start < end and problem.tasks[task].fixed_start is None:
                    name = problem.resource_name(resource)
                    yield f"{problem.task_name(task)} runs on {name} while it is down from {down.start} to {down.end}"


def _use(problem: Problem, schedule: Schedule) -> dict[int, list[tuple[int, int, int, int]]]:
    """Return (start, end, amount, task) by resource, of what takes time and some of it."""
    use: dict[int, list[tuple[int, int, int, int]]] = defaultdict(list)
    left = leaves(problem, schedule)
    for number in range(problem.num_tasks):
        start = schedule.starts[number]
        if left[number] > start:
            for resource, amount in mode_of(problem, schedule, number).needs:
                if amount:
                    use[resource].append((start, left[number], amount, number))
    return use


def _of_capacity(problem: Problem, resource: int, spans: list[tuple[int, int, int, int]]) -> Iterator[str]:
    changes = sorted([(start, 1, amount) for start, _, amount, _ in spans] + [(end, 0, -n) for _, end, n, _ in spans])
    taken, capacity = 0, problem.capacity[resource]
    for at, _, amount in changes:
        taken += amount
        if taken > capacity:
            names = [problem.task_name(task) for start, end, _, task in spans if start <= at < end]
            name = problem.resource_name(resource)
            yield f"{name} has {capacity}, and {taken} are taken at {at} by {', '.join(names)}"
            return


def _of_order(problem: Problem, schedule: Schedule) -> Iterator[str]:
    """Compare the orders of every two machines; what takes no time has no place in an order."""
    orders: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, task in enumerate(problem.tasks):
        mode = mode_of(problem, schedule, number)
        for resource, _ in mode.needs if mode.duration else ():
            orders[resource].append((schedule.starts[number], task.job))
    lines = [[job for _, job in sorted(order)] for order in orders.values()]
    for one, other in combinations(lines, 2):
        both = set(one) & set(other)
        if [job for job in one if job in both] != [job for job in other if job in both]:
            yield "machines take the jobs in different orders"
            return
