"""Jobs drawn at random, as a recipe describes them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headway.core.nouns import Resource
from headway.policies.shop.nouns import SLOT, ShopJob
from headway.policies.shop.problem import Mode, Task
from headway.sim.shop.breakdowns import Failures
from headway.sim.shop.recipe import JobsSpec, ShopSpec


def machines(shop: ShopSpec, failures: Failures | None) -> list[Resource]:
    """Return the machines of a shop, which say how long repairs are expected to take."""
    traits = {} if failures is None else {"repair_s": failures.repair_s}
    return [
        Resource(id=f"M{place}", kind="machine", capacity={SLOT: 1.0}, traits=traits) for place in range(shop.machines)
    ]


def draw(shop: ShopSpec, jobs: JobsSpec, load: float, rng: np.random.Generator) -> Iterator[ShopJob]:
    """Draw jobs one after the other, in order of arrival.

    What a job is does not depend on the load: with another, the same jobs come closer together, or farther apart.
    """
    when, what = rng.spawn(2)
    for number, arrival_s in enumerate(jobs.arrivals_s(shop, load, when).tolist()):
        tasks = _tasks(shop, what)
        work_s = sum([task.modes[0].duration for task in tasks])
        due_s = arrival_s + work_s * float(what.uniform(*jobs.due_factor))
        weight = jobs.weights[int(what.integers(len(jobs.weights)))]
        yield ShopJob(id=f"J{number}", kind="job", arrival_s=arrival_s, tasks=tasks, due_s=due_s, weight=weight)


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
