"""Problems of every kind that are small enough to try every schedule, and the trying."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from headway.policies.shop.checking import in_order
from headway.policies.shop.cp_windows import windows
from headway.policies.shop.making import flexible_job_shop, flow_shop, job_shop, project, single_machine
from headway.policies.shop.problem import Downtime, Problem
from headway.policies.shop.schedule import Schedule, faults, objective

SHORT = st.integers(0, 3)
MOST_SCHEDULES = 30_000


@st.composite
def problems(draw: st.DrawFn, **fields: Any) -> Problem:
    """Draw a problem whose schedules can all be tried; `fields` are set in it."""
    made = draw(st.one_of(job_shops(), flow_shops(), flexible_shops(), single_machines(), projects()))
    return draw(with_limits(replace(made, **fields)).filter(lambda one: num_schedules(one) <= MOST_SCHEDULES))


@st.composite
def job_shops(draw: st.DrawFn) -> Problem:
    task = st.tuples(st.integers(0, 1), SHORT)
    rows = draw(st.lists(st.lists(task, min_size=1, max_size=2), min_size=1, max_size=2))
    return job_shop("job shop", rows, capacity=(1, 1))


@st.composite
def flow_shops(draw: st.DrawFn) -> Problem:
    rows = draw(st.lists(st.tuples(SHORT, SHORT), min_size=1, max_size=2))
    return flow_shop("flow shop", rows, permutation=draw(st.booleans()))


@st.composite
def flexible_shops(draw: st.DrawFn) -> Problem:
    ways = st.lists(st.tuples(st.integers(0, 1), SHORT), min_size=1, max_size=2, unique_by=lambda way: way[0])
    rows = draw(st.lists(st.lists(ways, min_size=1, max_size=2), min_size=1, max_size=2))
    return flexible_job_shop("flexible", rows, capacity=(1, 1))


@st.composite
def single_machines(draw: st.DrawFn) -> Problem:
    jobs = draw(st.lists(st.tuples(SHORT, st.integers(0, 6), st.sampled_from([0.5, 1, 2])), min_size=1, max_size=4))
    durations, due, weights = zip(*jobs, strict=True)
    return single_machine("single machine", durations, due, weights if draw(st.booleans()) else None)


@st.composite
def projects(draw: st.DrawFn) -> Problem:
    count = draw(st.integers(1, 4))
    capacity = draw(st.lists(st.integers(1, 3), min_size=1, max_size=2))
    needs = [[draw(st.integers(0, most)) for most in capacity] for _ in range(count)]
    successors = [[b for b in range(a + 1, count) if draw(st.booleans())] for a in range(count)]
    return project("project", [draw(SHORT) for _ in range(count)], needs, successors, capacity)


@st.composite
def with_limits(draw: st.DrawFn, problem: Problem) -> Problem:
    """Draw releases, due times, deadlines, downtimes, a task under way and an objective."""
    seldom = st.integers(0, 3).map(lambda dice: dice == 0)
    tasks, jobs = list(problem.tasks), list(problem.jobs)
    if draw(seldom):
        tasks = [replace(task, release=draw(st.integers(0, 3))) for task in tasks]
    if draw(seldom):
        tasks[0] = replace(tasks[0], modes=tasks[0].modes[:1], fixed_start=0, release=0)
    if draw(seldom):
        jobs = [replace(job, deadline=draw(st.integers(2, 9))) for job in jobs]
    if problem.name != "single machine" and draw(seldom):
        kind = draw(st.sampled_from(["total_tardiness", "weighted_tardiness", "total_flow_time"]))
        jobs = [replace(job, due=draw(st.integers(0, 5)), weight=draw(st.sampled_from([0, 1.5, 3]))) for job in jobs]
        problem = replace(problem, objective=kind)
    downtimes = []
    if draw(seldom):
        start = draw(st.integers(0, 4))
        downtimes.append(
            Downtime(draw(st.integers(0, problem.num_resources - 1)), start, start + draw(st.integers(1, 3)))
        )
    return replace(problem, tasks=tuple(tasks), jobs=tuple(jobs), downtimes=tuple(downtimes))


def num_schedules(problem: Problem) -> int:
    count, horizon = 1, windows(problem).horizon
    for task in problem.tasks:
        count *= 1 if task.fixed_start is not None else (horizon + 1) * len(task.modes)
    return count


def least_cost(problem: Problem) -> float | None:
    """Return the cost of the best of all schedules; None when there is none."""
    costs: list[float] = []
    for modes in product(*(range(len(task.modes)) for task in problem.tasks)):
        for starts in all_starts(problem, modes):
            schedule = Schedule(tuple(starts), modes)
            cost = objective(problem, schedule)
            if (not costs or cost < costs[-1]) and not faults(problem, schedule):
                costs.append(cost)
    return costs[-1] if costs else None


def all_starts(problem: Problem, modes: tuple[int, ...]) -> Iterator[list[int]]:
    """Yield all starts that keep precedence and releases, one list that changes."""
    order, horizon = in_order(problem), windows(problem).horizon
    starts = [0] * problem.num_tasks

    def place(turn: int) -> Iterator[list[int]]:
        if turn == len(order):
            yield starts
            return
        number = order[turn]
        task = problem.tasks[number]
        ready = (starts[before] + problem.tasks[before].modes[modes[before]].duration for before in task.after)
        soonest = max(task.release, *ready, 0)
        last = horizon - task.modes[modes[number]].duration
        for start in (task.fixed_start,) if task.fixed_start is not None else range(soonest, last + 1):
            starts[number] = start
            yield from place(turn + 1)

    return place(0)
