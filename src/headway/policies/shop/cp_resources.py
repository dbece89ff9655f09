"""What resources ask of a constraint program: capacity, downtimes, blocking, one order for all machines."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import Any

from msgspec import Struct

from headway.numerics import cp
from headway.policies.shop.cp_tasks import Tasks, free_spans
from headway.policies.shop.problem import Mode, Problem


class Hold(Struct, frozen=True):
    """A task on a resource in one of its modes.

    Parameters
    ----------
    task : int
        Which.
    amount : int
        Of the resource.
    is_there : literal or None
        Whether it takes place; None for always.
    interval : interval variable
        From its start until it leaves.
    """

    task: int
    amount: int
    is_there: Any
    interval: Any


def add_resources(tasks: Tasks) -> dict[int, list[Hold]]:
    """Say that no resource is overdrawn, and return who may hold each."""
    found: dict[int, list[Hold]] = defaultdict(list)
    for number, task in enumerate(tasks.problem.tasks):
        for place, mode in enumerate(task.modes):
            pick = tasks.picks[number][place] if tasks.picks[number] else None
            if stays(tasks, number):
                _add_stay(tasks, number, mode, pick, found)
            elif mode.duration:
                _add_run(tasks, number, place, pick, found)
    for resource, holds in found.items():
        add_capacity(tasks.model, tasks.problem.capacity[resource], [(hold.interval, hold.amount) for hold in holds])
    if tasks.problem.permutation:
        _add_one_order(tasks)
    return found


def stays(tasks: Tasks, number: int) -> bool:
    """Say whether a task may stay on its resources after its end, since its job waits for the next."""
    return tasks.leaves[number] is not tasks.ends[number]


def add_capacity(model: Any, capacity: int, uses: list[tuple[Any, int]]) -> None:
    """Say that intervals together take no more than a resource has."""
    if all(2 * amount > capacity for _, amount in uses):
        model.add_no_overlap([interval for interval, _ in uses])
    elif sum(amount for _, amount in uses) > capacity:
        model.add_cumulative([interval for interval, _ in uses], [amount for _, amount in uses], capacity)


def _add_run(tasks: Tasks, number: int, place: int, pick: Any, found: dict[int, list[Hold]]) -> None:
    """Add a task that leaves its resources at its end."""
    model, start, task = tasks.model, tasks.starts[number], tasks.problem.tasks[number]
    mode = task.modes[place]
    if pick is None:
        interval = model.new_fixed_size_interval_var(start, mode.duration, "")
    else:
        interval = model.new_optional_fixed_size_interval_var(start, mode.duration, pick, "")
    _note(number, mode, pick, interval, found)
    low, last = tasks.windows.earliest[number], tasks.windows.latest[number] - mode.duration
    spans = free_spans(tasks.problem, task, place, low, last)
    if spans != [(low, last)]:
        said = model.add_linear_expression_in_domain(start, cp.ortools().Domain.from_intervals(spans))
        if pick is not None:
            said.only_enforce_if(pick)


def _add_stay(tasks: Tasks, number: int, mode: Mode, pick: Any, found: dict[int, list[Hold]]) -> None:
    """Add a task that stays on its resources until its job moves on."""
    model, start, leave = tasks.model, tasks.starts[number], tasks.leaves[number]
    is_there = _takes_time(tasks, number, mode, pick)
    size = model.new_int_var(mode.duration, tasks.windows.horizon, "")
    if is_there is None:
        interval = model.new_interval_var(start, size, leave, "")
    else:
        interval = model.new_optional_interval_var(start, size, leave, is_there, "")
    _note(number, mode, is_there, interval, found)
    if tasks.problem.tasks[number].fixed_start is None:
        _leave_before_downtimes(tasks, number, mode, is_there)


def _note(number: int, mode: Mode, is_there: Any, interval: Any, found: dict[int, list[Hold]]) -> None:
    for resource, amount in mode.needs:
        if amount:
            found[resource].append(Hold(number, amount, is_there, interval))


def _takes_time(tasks: Tasks, number: int, mode: Mode, pick: Any) -> Any:
    """Return the literal of a mode that holds something: one without length does not when the job passes through."""
    if mode.duration:
        return pick
    stays = tasks.model.new_bool_var("")
    passing = [~stays] if pick is None else [~stays, pick]
    tasks.model.add(tasks.leaves[number] == tasks.starts[number]).only_enforce_if(passing)
    if pick is not None:
        tasks.model.add_implication(stays, pick)
    return stays


def _leave_before_downtimes(tasks: Tasks, number: int, mode: Mode, is_there: Any) -> None:
    """Let a task leave before each downtime of its resources, or start after it."""
    used = {resource for resource, amount in mode.needs if amount}
    given = [] if is_there is None else [is_there]
    for down in tasks.problem.downtimes:
        if down.resource in used:
            leaves_before = tasks.model.new_bool_var("")
            tasks.model.add(tasks.leaves[number] <= down.start).only_enforce_if([*given, leaves_before])
            tasks.model.add(tasks.starts[number] >= down.end).only_enforce_if([*given, ~leaves_before])


def num_orders(problem: Problem) -> int:
    """Return how many pairs of tasks one order for all machines has to speak of."""
    return len(problem.jobs) ** 2 * problem.num_resources if problem.permutation else 0


def _add_one_order(tasks: Tasks) -> None:
    """Let all machines take the jobs in the same order, those that take time: one literal for each two jobs."""
    problem, model = tasks.problem, tasks.model
    first: dict[tuple[int, int], Any] = {}
    users: dict[int, list[int]] = defaultdict(list)
    for number, task in enumerate(problem.tasks):
        for resource in {resource for resource, _ in task.modes[0].needs if task.modes[0].duration}:
            users[resource].append(number)
    for numbers in users.values():
        for one, other in combinations(sorted(numbers, key=lambda n: problem.tasks[n].job), 2):
            jobs = (problem.tasks[one].job, problem.tasks[other].job)
            if jobs not in first:
                first[jobs] = model.new_bool_var("")
            model.add(tasks.starts[other] >= tasks.leaves[one]).only_enforce_if(first[jobs])
            model.add(tasks.starts[one] >= tasks.leaves[other]).only_enforce_if(~first[jobs])
