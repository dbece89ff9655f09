"""Jobs drawn at random, as a recipe describes them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace

from headway.core.nouns import Resource, Seconds
from headway.policies.shop.arriving import jobs_of, machines_of
from headway.policies.shop.nouns import SLOT, ShopJob
from headway.policies.shop.problem import Mode, Problem, Task
from headway.policies.shop.states import mean_duration_s
from headway.sim.shop.breakdowns import Failures
from headway.sim.shop.recipe import JobsSpec, ShopSpec


def machines(shop: ShopSpec, problem: Problem | None, failures: Failures | None) -> list[Resource]:
    """Return the machines of a shop, or of an instance, which say how long repairs are expected to take."""
    traits = {} if failures is None else {"repair_s": failures.repair_s}
    if problem is not None:
        return [replace(machine, traits=traits) for machine in machines_of(problem)]
    return [
        Resource(id=f"M{place}", kind="machine", capacity={SLOT: 1.0}, traits=traits) for place in range(shop.machines)
    ]


def draw(shop: ShopSpec, jobs: JobsSpec, load: float, rng: np.random.Generator) -> Iterator[ShopJob]:
    """Draw jobs one after the other, in order of arrival.

    What a job is does not depend on the load: with another, the same jobs come closer together, or farther apart.
    """
    when, what = rng.spawn(2)
    work_s = shop.job_work_s / shop.machines
    for number, arrival_s in enumerate(jobs.arrivals_s(jobs.num, work_s, load, when).tolist()):
        tasks = _tasks(shop, what)
        due_s, weight = _promise(arrival_s, tasks, jobs, what)
        yield ShopJob(id=f"J{number}", kind="job", arrival_s=arrival_s, tasks=tasks, due_s=due_s, weight=weight)


def released(problem: Problem, jobs: JobsSpec, load: float, rng: np.random.Generator) -> list[ShopJob]:
    """Let the jobs of an instance arrive; due times and weights are drawn where it has none."""
    when, what = rng.spawn(2)
    num = len(problem.jobs)
    work_s = sum(mean_duration_s(task) for task in problem.tasks) / (num * problem.num_resources)
    arrivals_s = jobs.arrivals_s(num, work_s, load, when).tolist()
    found = []
    for job in jobs_of(problem, arrivals_s):
        due_s, weight = _promise(job.arrival_s, job.tasks, jobs, what)
        if job.due_s is not None:  # it counts from the arrival of the job, as does its deadline
            due_s, weight = job.arrival_s + job.due_s, job.weight
        deadline_s = None if job.deadline_s is None else job.arrival_s + job.deadline_s
        found.append(replace(job, due_s=due_s, deadline_s=deadline_s, weight=weight))
    return found


def _promise(
    arrival_s: Seconds, tasks: tuple[Task, ...], jobs: JobsSpec, rng: np.random.Generator
) -> tuple[Seconds, float]:
    """Draw when a job is due, and how much its lateness counts."""
    work_s = sum([mean_duration_s(task) for task in tasks])
    due_s = arrival_s + work_s * float(rng.uniform(*jobs.due_factor))
    return due_s, jobs.weights[int(rng.integers(len(jobs.weights)))]


def _tasks(shop: ShopSpec, rng: np.random.Generator) -> tuple[Task, ...]:
    num = shop.num_tasks
    durations = rng.integers(shop.shortest_s, shop.longest_s + 1, num).tolist()
    if shop.kind == "flow-shop":
        routes = [[place] for place in range(num)]
    elif shop.kind == "job-shop":
        routes = [[place] for place in rng.permutation(shop.machines)[:num].tolist()]
    else:
        routes = [rng.permutation(shop.machines)[: shop.choices].tolist() for _ in range(num)]
    return tuple(
        [
            Task(tuple([Mode(duration, ((machine, 1),)) for machine in route]), after=(place - 1,) if place else ())
            for place, (route, duration) in enumerate(zip(routes, durations, strict=True))
        ]
    )
