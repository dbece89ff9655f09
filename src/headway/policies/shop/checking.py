"""Whether a problem makes sense, before anybody tries to solve it."""

from __future__ import annotations

import math
from collections import Counter

from headway.core.errors import ConfigError
from headway.policies.shop.problem import Mode, Problem, Task


def check(problem: Problem) -> None:
    """Raise for a problem that contradicts itself, in one sentence.

    Raises
    ------
    ConfigError
        When a number is out of range, a name does not exist, or precedence runs in a circle.
    """
    if not problem.tasks:
        raise _wrong(problem, "there must be at least one task", "got none", "Add tasks")
    for resource, capacity in enumerate(problem.capacity):
        if capacity < 1:
            raise _wrong(problem, f"capacity of {problem.resource_name(resource)} must be >= 1", f"got {capacity}")
    _check_resource_names(problem)
    for number, task in enumerate(problem.tasks):
        _check_task(problem, number, task)
    _check_names(problem)
    for number, job in enumerate(problem.jobs):
        if not 0 <= job.weight < math.inf:
            raise _wrong(problem, f"weight of {problem.job_name(number)} must be >= 0, finite", f"got {job.weight}")
    for down in problem.downtimes:
        if not (0 <= down.resource < problem.num_resources and 0 <= down.start < down.end):
            raise _wrong(problem, "a downtime must name a resource and end after it starts", f"got {down}")
    in_order(problem)


def in_order(problem: Problem) -> list[int]:
    """Return the tasks in an order in which each comes after those that it waits for.

    Raises
    ------
    ConfigError
        When precedence runs in a circle; the circle is named.
    """
    left = [len(task.after) for task in problem.tasks]
    following: list[list[int]] = [[] for _ in problem.tasks]
    for number, task in enumerate(problem.tasks):
        for before in task.after:
            following[before].append(number)
    order = [number for number, count in enumerate(left) if not count]
    for number in order:  # it grows while it is walked through
        for other in following[number]:
            left[other] -= 1
            if not left[other]:
                order.append(other)
    if len(order) < problem.num_tasks:
        circle = " -> ".join(problem.task_name(number) for number in _circle(problem, left))
        raise _wrong(problem, "precedence must not run in a circle", f"got {circle}", "Take one of them out")
    return order


def _check_resource_names(problem: Problem) -> None:
    names = problem.resources
    if names and (len(names) != problem.num_resources or len(set(names)) != len(names)):
        must = f"there must be a name for each of {problem.num_resources} resources, unlike the others"
        raise _wrong(problem, must, f"got {', '.join(names)}")


def _check_names(problem: Problem) -> None:
    """Raise where two jobs or tasks have one name: plans, boards and files know them by these."""
    jobs = [problem.job_name(number) for number in range(len(problem.jobs))]
    tasks = [problem.task_name(number) for number in range(problem.num_tasks)]
    for what, names in (("jobs", jobs), ("tasks", tasks)):
        if len(set(names)) < len(names):
            twice = next(name for name, num in Counter(names).items() if num > 1)
            raise _wrong(problem, f"{what} must have names unlike each other", f"got {twice} twice", "Rename one")


def _check_task(problem: Problem, number: int, task: Task) -> None:
    if not 0 <= task.job < len(problem.jobs):
        raise _wrong(problem, f"job of task {number} must be in 0..{len(problem.jobs) - 1}", f"got {task.job}")
    name = problem.task_name(number)
    if not task.modes:
        raise _wrong(problem, f"{name} must have a mode", "got none", "Say where it can run")
    if task.release < 0 or (task.fixed_start or 0) < 0:
        raise _wrong(
            problem, f"release and start of {name} must be >= 0", f"got {min(task.release, task.fixed_start or 0)}"
        )
    if task.fixed_start is not None and len(task.modes) > 1:
        raise _wrong(problem, f"{name} is under way and must have one mode", f"got {len(task.modes)}")
    for other in task.after:
        if not 0 <= other < problem.num_tasks:
            raise _wrong(problem, f"{name} must wait for tasks 0..{problem.num_tasks - 1}", f"got {other}")
    for mode in task.modes:
        _check_mode(problem, name, mode)


def _check_mode(problem: Problem, name: str, mode: Mode) -> None:
    if mode.duration < 0:
        raise _wrong(problem, f"durations of {name} must be >= 0", f"got {mode.duration}")
    for resource, amount in mode.needs:
        _check_need(problem, name, resource, amount)
    used = Counter(resource for resource, _ in mode.needs)
    if len(used) < len(mode.needs):
        twice = problem.resource_name(used.most_common(1)[0][0])
        raise _wrong(problem, f"{name} must need each of its machines once", f"got {twice} twice", "Add them up")


def _check_need(problem: Problem, name: str, resource: int, amount: int) -> None:
    if not 0 <= resource < problem.num_resources:
        known = f"0..{problem.num_resources - 1}"
        raise _wrong(problem, f"{name} must run on machines {known}", f"got {resource}", "Number them from 0")
    if not 0 <= amount <= problem.capacity[resource]:
        most = problem.capacity[resource]
        raise _wrong(problem, f"{name} must need 0 to {most} of {problem.resource_name(resource)}", f"got {amount}")


def _circle(problem: Problem, left: list[int]) -> list[int]:
    """Walk back from a task that never gets its turn until one comes up again."""
    walk = [next(number for number, count in enumerate(left) if count)]
    while walk[-1] not in walk[:-1]:
        walk.append(next(before for before in problem.tasks[walk[-1]].after if left[before]))
    return walk[walk.index(walk[-1]) :][::-1]


def _wrong(problem: Problem, must: str, came: str, advice: str = "Mend the instance") -> ConfigError:
    return ConfigError(f"problem {problem.name}: {must}, {came}. {advice}.")
