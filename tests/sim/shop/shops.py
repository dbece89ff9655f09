"""Shops drawn at random, and what a run of one must have kept to; for the tests of worlds, policies and engines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from headway.core.actions import Action, Start
from headway.core.drivers import simulate
from headway.core.events import Arrived, Changed, Event, Finished
from headway.core.nouns import Seconds
from headway.core.report import Report
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.shop.arriving import jobs_of, machines_of
from headway.policies.shop.making import flexible_job_shop, job_shop
from headway.policies.shop.nouns import TaskDone, TaskStopped
from headway.policies.shop.problem import Job, Mode, Problem, Task
from headway.policies.shop.schedule import Schedule
from headway.policies.shop.seats_dispatch import Ready
from headway.sim.shop.breakdowns import Failures
from headway.sim.shop.durations import Noise
from headway.sim.shop.world import ShopWorld


class ShortestFirst:
    """A rule whose keys stay."""

    dynamic = False

    def key(self, ready: Ready, now_s: Seconds) -> float:
        return ready.duration_s


class LeastSlack:
    """A rule whose keys change."""

    dynamic = True

    def key(self, ready: Ready, now_s: Seconds) -> float:
        return ready.due_s - now_s - ready.work_left_s if ready.due_s < 1e9 else -ready.work_left_s


RULES = [ShortestFirst(), LeastSlack()]


def random_shop(seed: int, num_jobs: int = 5, num_machines: int = 3, shortest: int = 0) -> Problem:
    """Draw a job shop, a flexible one, or projects with gangs and cumulative resources."""
    rng = np.random.default_rng(seed)
    kind = seed % 3
    if kind == 2:
        return _projects(rng, num_jobs, num_machines, shortest)
    jobs = tuple(Job(due=int(rng.integers(5, 60)), weight=float(rng.integers(1, 4))) for _ in range(num_jobs))
    routes = [rng.permutation(num_machines).tolist() for _ in range(num_jobs)]
    times = rng.integers(shortest, 10, size=(num_jobs, num_machines, 2)).tolist()
    if kind == 0:
        rows = [[(m, times[j][n][0]) for n, m in enumerate(route)] for j, route in enumerate(routes)]
        return job_shop("drawn", rows, jobs=jobs)
    both = [
        [[(m, times[j][n][0]), ((m + 1) % num_machines, times[j][n][1])] for n, m in enumerate(route)]
        for j, route in enumerate(routes)
    ]
    return flexible_job_shop("drawn", both, jobs=jobs)


def _projects(rng: np.random.Generator, num_jobs: int, num_resources: int, shortest: int) -> Problem:
    capacity = tuple(int(c) for c in rng.integers(1, 4, num_resources))
    tasks: list[Task] = []
    for job in range(num_jobs):
        first = len(tasks)
        for place in range(int(rng.integers(1, 6))):
            after = tuple(first + other for other in range(place) if rng.random() < 0.4)
            needs = [(r, int(rng.integers(0, c + 1))) for r, c in enumerate(capacity)]
            mode = Mode(int(rng.integers(shortest, 8)), tuple(need for need in needs if need[1]))
            tasks.append(Task((mode,), job=job, after=after, release=int(rng.integers(0, 6))))
    return Problem(name="drawn", tasks=tuple(tasks), jobs=(Job(),) * num_jobs, capacity=capacity)


def world_of(problem: Problem, seed: int = 0, *, arrivals_s: Sequence[float] = (), **more: Any) -> ShopWorld:
    """Make the world of a problem."""
    rng = np.random.default_rng(seed)
    return ShopWorld(jobs_of(problem, arrivals_s), machines_of(problem), rng=rng, **more)


def rough_world(seed: int) -> ShopWorld:
    """Draw a shop with noise, arrivals and breakdowns."""
    rng = np.random.default_rng(seed)
    arrivals_s = np.sort(rng.uniform(0, 40, 5)).tolist()
    return world_of(
        random_shop(seed),
        seed,
        arrivals_s=arrivals_s,
        truth=Noise(0.3) if seed % 2 else None,
        failures=Failures(mtbf_s=30.0, repair_s=5.0),
        after_breakdown="restart" if seed % 4 < 2 else "resume",
    )


def play(world: ShopWorld, policy: Any, seed: int = 0) -> tuple[Report, list[Event | Action]]:
    """Play a world; returns the report and the whole conversation."""
    trace = MemoryTrace(1_000_000)
    report = simulate(world, policy, session=Session(policy, world.view, seed=seed, trace=trace))
    return report, list(trace.records)


def starts_of(records: Sequence[Event | Action]) -> list[tuple[float, Start]]:
    """Return when tasks were started."""
    found, now_s = [], 0.0
    for record in records:
        if isinstance(record, Event):
            now_s = record.at_s
        elif isinstance(record, Start):
            found.append((now_s, record))
    return found


def schedule_of(problem: Problem, records: Sequence[Event | Action], ids: Sequence[str]) -> Schedule:
    """Return the schedule that a run without disturbances came to."""
    starts = {start.id: (at_s, start) for at_s, start in starts_of(records)}
    modes = []
    for task, id_ in zip(problem.tasks, ids, strict=True):
        on = starts[id_][1].on
        wanted = {problem.resource_name(r): n for r, n in task.modes[0].needs}
        fits = {m: int(amounts["slot"]) for m, amounts in on.items()} == wanted
        modes.append(0 if fits else 1)
    return Schedule(tuple(int(starts[id_][0]) for id_ in ids), tuple(modes))


def spans_of(records: Sequence[Event | Action]) -> dict[str, list[tuple[float, float, float]]]:
    """Return (start, end, amount) of all that ran, by machine; what was stopped included."""
    spans: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    started = {(start.id, at_s): start for at_s, start in starts_of(records)}
    for record in records:
        if isinstance(record, TaskDone | TaskStopped):
            for machine, amounts in started[record.task, record.start_s].on.items():
                spans[machine].append((record.start_s, record.at_s, amounts["slot"]))
    return spans


def assert_kept(problem: Problem, records: Sequence[Event | Action]) -> None:
    """Raise where machines were given more than they hold, or a task began before those that it waits for had ended."""
    capacity = {problem.resource_name(place): c for place, c in enumerate(problem.capacity)}
    for machine, spans in spans_of(records).items():
        changes = sorted([(s, 1, a) for s, e, a in spans if e > s] + [(e, 0, -a) for s, e, a in spans if e > s])
        taken = 0.0
        for _, _, amount in changes:
            taken += amount
            assert taken <= capacity[machine] + 1e-9, f"{machine} holds {capacity[machine]}, {taken} ran at once"
    done = {record.task: record.at_s for record in records if isinstance(record, TaskDone)}
    arrived = {record.work.id: record.at_s for record in records if isinstance(record, Arrived)}
    places = [0] * len(problem.jobs)
    ids = []
    for task in problem.tasks:
        ids.append(f"{problem.job_name(task.job)}.{places[task.job]}")
        places[task.job] += 1
    for at_s, start in starts_of(records):
        task = problem.tasks[ids.index(start.id)]
        assert at_s >= arrived[problem.job_name(task.job)] + task.release
        for before in task.after:
            assert done[ids[before]] <= at_s, f"{start.id} began at {at_s}, before {ids[before]} had ended"
    ended = {record.id for record in records if isinstance(record, Finished)}
    assert ended == set(arrived), "all jobs must end"
    assert set(done) == {id_ for id_, task in zip(ids, problem.tasks, strict=True)}, "every task must be done once"


def assert_nothing_began_on_what_was_down(records: Sequence[Event | Action]) -> None:
    """Raise where a task was started on a machine that was down."""
    down: set[str] = set()
    for record in records:
        if isinstance(record, Changed):
            (down.discard if record.up else down.add)(record.resource.id)
        elif isinstance(record, Start):
            assert not down & set(record.on), f"{record.id} began on a machine that was down"


seeds = st.integers(0, 10_000)
