"""Blocked jobs that may not move in a circle: moves at one instant get an order.

Where no two jobs may swap their machines, of all moves at one instant each must find its machine already left by the
move before. A constraint program of plain intervals lets all of them happen at once; here each start gets a finer time,
``start * grain + rank``, at which a machine that a job leaves by moving on is free one rank later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headway.policies.shop.cp_resources import Hold, add_capacity, stays
from headway.policies.shop.cp_tasks import Tasks
from headway.policies.shop.problem import Problem


def add_moves(tasks: Tasks, holds: dict[int, list[Hold]]) -> None:
    """Forbid circles of moves at one instant."""
    grain = _grain(tasks.problem)
    fine = [_fine_start(tasks, number, grain) for number in range(tasks.problem.num_tasks)]
    for number, task in enumerate(tasks.problem.tasks):
        if task.fixed_start is None:
            for before in task.after:
                if not all(mode.duration for mode in tasks.problem.tasks[before].modes):
                    tasks.model.add(fine[number] > fine[before])
    following: list[list[int]] = [[] for _ in tasks.problem.tasks]
    for number, task in enumerate(tasks.problem.tasks):
        for before in task.after:
            following[before].append(number)
    for resource, users in holds.items():
        spans = [(_fine_span(tasks, fine, following[hold.task], resource, hold, grain), hold.amount) for hold in users]
        add_capacity(tasks.model, tasks.problem.capacity[resource], spans)


def _grain(problem: Problem) -> int:
    """Return more ranks than moves at one instant can wait for each other."""
    sudden = sum(any(not mode.duration for mode in task.modes) for task in problem.tasks)
    return min(len(problem.jobs), sum(problem.capacity)) + sudden + 1


def _fine_start(tasks: Tasks, number: int, grain: int) -> Any:
    model, start = tasks.model, tasks.starts[number]
    rank = model.new_int_var(0, grain - 1, "")
    fine = model.new_int_var(0, (tasks.windows.horizon + 1) * grain, "")
    model.add(fine == start * grain + rank)
    return fine


def _fine_span(tasks: Tasks, fine: Sequence[Any], others: list[int], resource: int, hold: Hold, grain: int) -> Any:
    model = tasks.model
    most = (tasks.windows.horizon + 2) * grain
    if not stays(tasks, hold.task):
        end = tasks.ends[hold.task] * grain
    elif len(others) == 1 and not _uses(tasks.problem, others[0], resource):
        end = fine[others[0]] + 1
    else:
        end = model.new_int_var(0, most, "")
        model.add_max_equality(end, [_freed(tasks, fine, other, resource) for other in others])
    size = model.new_int_var(0, most, "")
    if hold.is_there is None:
        return model.new_interval_var(fine[hold.task], size, end, "")
    return model.new_optional_interval_var(fine[hold.task], size, end, hold.is_there, "")


def _freed(tasks: Tasks, fine: Sequence[Any], other: int, resource: int) -> Any:
    """Return when a move to `other` leaves a resource: at once where `other` goes on with it, else one rank later."""
    modes, picks = tasks.problem.tasks[other].modes, tasks.picks[other]
    goes_on = [place for place, mode in enumerate(modes) if any(need == resource for need, _ in mode.needs)]
    if not picks:
        return fine[other] + (0 if goes_on else 1)
    return fine[other] + 1 - sum(picks[place] for place in goes_on)


def _uses(problem: Problem, number: int, resource: int) -> bool:
    return any(need == resource for mode in problem.tasks[number].modes for need, _ in mode.needs)
