"""Tasks as variables of a constraint program: when each starts, in which mode it runs, when it leaves its resources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from headway.numerics import cp
from headway.policies.shop.cp_windows import Windows
from headway.policies.shop.problem import Problem, Task
from headway.policies.shop.schedule import Schedule


class Tasks(Struct, frozen=True):
    """The variables of all tasks.

    Parameters
    ----------
    model : CpModel
        Where they live.
    problem : Problem
        Whose tasks they are.
    windows : Windows
        Their domains.
    starts, ends, leaves : list of expression
        By task; `leaves` is when its resources are free again.
    picks : list of list of literal
        By task, one for each mode; empty for a task with one mode.
    """

    model: Any
    problem: Problem
    windows: Windows
    starts: list[Any]
    ends: list[Any]
    leaves: list[Any]
    picks: list[list[Any]]

    @property
    def wanted(self) -> list[Any]:
        """Variables whose values make a schedule: starts, then picks."""
        return [*self.starts, *(pick for picks in self.picks for pick in picks)]


def add_tasks(problem: Problem, found: Windows) -> Tasks:
    """Start a model with the tasks of a problem, their precedence and their downtimes."""
    model = cp.new_model()
    tasks = Tasks(model, problem, found, [], [], [], [])
    for number, task in enumerate(problem.tasks):
        _add_task(tasks, number, task)
    for number, task in enumerate(problem.tasks):
        if task.fixed_start is None:
            for before in task.after:
                model.add(tasks.starts[number] >= tasks.ends[before])
    _add_leaves(tasks)
    return tasks


def _add_task(tasks: Tasks, number: int, task: Task) -> None:
    model, low, high = tasks.model, tasks.windows.earliest[number], tasks.windows.latest[number]
    durations = [mode.duration for mode in task.modes]
    last = high - min(durations)
    start = _start_variable(tasks, task, low, last)
    picks = [model.new_bool_var("") for _ in durations] if len(durations) > 1 else []
    if picks:
        model.add_exactly_one(picks)
    tasks.starts.append(start)
    tasks.picks.append(picks)
    if min(durations) == max(durations):
        tasks.ends.append(start + durations[0])
    else:
        end = model.new_int_var(low + min(durations), high, "")
        model.add(end == start + sum(pick * duration for pick, duration in zip(picks, durations, strict=True)))
        tasks.ends.append(end)


def _start_variable(tasks: Tasks, task: Task, low: int, last: int) -> Any:
    """Return the start, without the times at which a task with one mode would meet a downtime."""
    if task.fixed_start is not None:
        return tasks.model.new_constant(task.fixed_start)
    if len(task.modes) > 1 or tasks.problem.blocking:
        return tasks.model.new_int_var(low, last, "")
    spans = free_spans(tasks.problem, task, 0, low, last)
    if spans == [(low, last)] or not spans:
        return tasks.model.new_int_var(low, last, "")
    return tasks.model.new_int_var_from_domain(cp.ortools().Domain.from_intervals(spans), "")


def free_spans(problem: Problem, task: Task, mode: int, low: int, last: int) -> list[tuple[int, int]]:
    """Return the spans of starts, ends included, from which a mode meets no downtime of its resources."""
    way = task.modes[mode]
    used = {resource for resource, amount in way.needs if amount}
    spans = [(low, last)]
    for down in problem.downtimes:
        if down.resource in used and way.duration and task.fixed_start is None:
            spans = list(_without(spans, down.start - way.duration + 1, down.end - 1))
    return spans


def _without(spans: list[tuple[int, int]], first: int, final: int) -> Iterator[tuple[int, int]]:
    """Yield what is left of spans when first .. final is cut out."""
    for low, high in spans:
        if final < first or high < first or low > final:
            yield low, high
            continue
        if low < first:
            yield low, first - 1
        if high > final:
            yield final + 1, high


def _add_leaves(tasks: Tasks) -> None:
    """Say when each task leaves: at its end or, where machines block, when all that wait for it have started."""
    following = _started_by(tasks.problem)
    for number, end in enumerate(tasks.ends):
        others = following[number]
        if not others:
            tasks.leaves.append(end)
        elif len(others) == 1 and tasks.problem.tasks[others[0]].fixed_start is None:
            tasks.leaves.append(tasks.starts[others[0]])
        else:
            leave = tasks.model.new_int_var(tasks.windows.earliest[number], tasks.windows.horizon, "")
            tasks.model.add_max_equality(leave, [end, *(tasks.starts[other] for other in others)])
            tasks.leaves.append(leave)


def _started_by(problem: Problem) -> list[list[int]]:
    """Return, for each task, those whose starts let it go; none where machines do not block."""
    found: list[list[int]] = [[] for _ in problem.tasks]
    if problem.blocking:
        for number, task in enumerate(problem.tasks):
            for before in task.after:
                found[before].append(number)
    return found


def hint(tasks: Tasks, known: Schedule) -> None:
    """Let the search begin at a schedule."""
    for task, variable, value in zip(tasks.problem.tasks, tasks.starts, known.starts, strict=True):
        if task.fixed_start is None:  # equal constants are one variable, and may be hinted once
            tasks.model.add_hint(variable, value)
    for picks, mode in zip(tasks.picks, known.modes, strict=True):
        for place, pick in enumerate(picks):
            tasks.model.add_hint(pick, place == mode)


def schedule_of(tasks: Tasks, values: Sequence[int]) -> Schedule:
    """Return the schedule that values of `Tasks.wanted` make."""
    starts, rest = values[: len(tasks.starts)], iter(values[len(tasks.starts) :])
    picked = [[next(rest) for _ in picks] for picks in tasks.picks]
    return Schedule(tuple(starts), tuple(one.index(1) if one else 0 for one in picked))
