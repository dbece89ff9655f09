"""Schedules as pictures: a chart for files, and lines of letters for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headway.plots.chart import Axis, Chart, Curve, natural_order
from headway.plots.charts.schedule import schedule_chart
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule, leaves, mode_of

LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
IDLE = "·"

Span = tuple[float, float, str, str, str]
"""Start, end, machine, job, task."""


def spans(problem: Problem, schedule: Schedule) -> Iterator[Span]:
    """Yield what occupies each machine; of a resource with room for several, the tasks stand in lanes of their own."""
    left, lanes = leaves(problem, schedule), _Lanes(problem)
    for task in sorted(range(problem.num_tasks), key=lambda one: schedule.starts[one]):
        start, end = schedule.starts[task], left[task]
        if end == start:
            continue
        for resource, amount in mode_of(problem, schedule, task).needs:
            if amount:
                lane = lanes.of(resource, start, end)
                yield start, end, lane, problem.job_name(problem.tasks[task].job), problem.task_name(task)


class _Lanes:
    """Gives each task on a shared resource the first lane that is free."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._free_at: list[list[float]] = [[] for _ in problem.capacity]

    def of(self, resource: int, start: float, end: float) -> str:
        name, free_at = self._problem.resource_name(resource), self._free_at[resource]
        place = next((lane for lane, at in enumerate(free_at) if at <= start), len(free_at))
        if place == len(free_at):
            free_at.append(end)
        free_at[place] = end
        return name if self._problem.capacity[resource] == 1 else f"{name} {place + 1}"


def chart(problem: Problem, result: Result) -> Chart:
    """Draw the schedule of a result, which must have one."""
    assert result.schedule is not None
    by_job = len(problem.jobs) > 1
    found = [span if by_job else (*span[:3], span[4], span[4]) for span in spans(problem, result.schedule)]
    is_span = problem.objective == "makespan"
    return schedule_chart(
        found,
        title=f"{problem.name}: {problem.objective.replace('_', ' ')} {result.objective:g} by {result.solver}",
        end=result.objective if is_span else None,
        bound=result.bound if is_span else None,
    )


def history_chart(result: Result) -> Chart:
    """Draw how objective and bound came closer over the time of computing."""
    marks = []
    for name in ("objective", "bound"):
        points = [(p.at_s, getattr(p, name)) for p in result.history if getattr(p, name) is not None]
        if points:
            x, y = zip(*points, (result.took_s, points[-1][1]), strict=True)
            marks.append(Curve(name, np.array(x, float), np.array(y, float), shape="step"))
    return Chart("How the search went", Axis("computing", "s"), Axis("objective"), tuple(marks))


def lines(problem: Problem, schedule: Schedule, width: int) -> list[tuple[str, list[int | None]]]:
    """Return for each machine its name and, for each of `width` moments, the job that occupies it (None when idle)."""
    found = list(spans(problem, schedule))
    last = max((end for _, end, *_ in found), default=0.0) or 1.0
    jobs = {problem.job_name(number): number for number in range(len(problem.jobs))}
    rows: dict[str, list[int | None]] = {}
    for start, end, lane, job, _ in found:
        row = rows.setdefault(lane, [None] * width)
        for cell in range(round(start / last * width), max(round(end / last * width), 0)):
            row[cell] = jobs[job]
    return [(name, rows[name]) for name in natural_order(rows)]
