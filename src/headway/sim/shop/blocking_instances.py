"""Shops without buffers to play: drawn routes, the problem of a set of routes, small worlds for contract checks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headway.core.errors import ConfigError
from headway.core.learning import Asking
from headway.policies.shop.isbjssp_gnn import IsbjsspGnn
from headway.policies.shop.making import job_shop
from headway.policies.shop.problem import Problem
from headway.sim.shop.blocking_truth import Interruptions, draw
from headway.sim.shop.blocking_world import BlockingWorld, Route
from headway.sim.shop.episodes import episode


def draw_routes(
    rng: np.random.Generator, num_jobs: int, num_machines: int, *, least: int = 1, most: int = 99
) -> list[Route]:
    """Draw jobs that visit every machine once, in any order, for whole times from `least` to `most`."""
    times = rng.integers(least, most + 1, (num_jobs, num_machines)).tolist()
    orders = [rng.permutation(num_machines).tolist() for _ in range(num_jobs)]
    return [list(zip(order, row, strict=True)) for order, row in zip(orders, times, strict=True)]


def durations(routes: Sequence[Route]) -> npt.NDArray[np.int64]:
    """Return processing times, [jobs, operations], with 0 where a route is shorter than the longest."""
    table = np.zeros((len(routes), max(map(len, routes))), np.int64)
    for row, route in zip(table, routes, strict=True):
        row[: len(route)] = [time for _, time in route]
    return table


def problem_of(routes: Sequence[Route], name: str = "blocking shop") -> Problem:
    """Return the blocking job shop, with swaps, that these routes are without interruptions."""
    return job_shop(name, routes, blocking=True, swap=True)


def routes_of(problem: Problem) -> list[Route]:
    """Return the routes of a job shop.

    Raises
    ------
    ConfigError
        When it is none, or a job has no operation.
    """
    if problem.kind not in ("job shop", "flow shop", "single machine") or problem.chains is None:
        raise ConfigError(f"{problem.name}: must be a job shop, got a {problem.kind}.")
    if not all(problem.chains):
        raise ConfigError(f"{problem.name}: each job must have an operation, got a job without.")
    modes = [task.modes[0] for task in problem.tasks]
    return [[(modes[task].needs[0][0], modes[task].duration) for task in chain] for chain in problem.chains]


def random_world(
    seed: int, num_jobs: int, num_machines: int, fail_prob: float, *, least: int = 1, blocking: bool = True
) -> BlockingWorld:
    """Make a shop whose routes and interruptions `seed` determines; the routes do not depend on the probability."""
    for_routes, for_truth = (np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(2))
    routes = draw_routes(for_routes, num_jobs, num_machines, least=least)
    return BlockingWorld(routes, draw(durations(routes), fail_prob, for_truth), blocking=blocking)


def asking(seed: int) -> Asking[float]:
    """Begin an episode: 8 jobs on 8 machines, interruptions at up to 20% of the operations.

    A question's features are those of `isbjssp_features`, its actions are jobs, and it comes wherever several jobs wait
    for a machine that is free. Minus the time that passes is the reward, so that it sums up to minus the makespan.
    """
    fail_prob = float(np.random.default_rng([seed, 1]).uniform(0.0, 0.2))
    return episode(random_world(seed, 8, 8, fail_prob), IsbjsspGnn(), lambda world: -world.view.now_s, seed=seed)


def small_world(seed: int) -> tuple[BlockingWorld, None]:
    """Make a world small enough for contract checks; it has no accounts of its own."""
    return _small(seed, lying=False), None


def lying_world(seed: int) -> BlockingWorld:
    """Make the small world of a seed in which machines are shut down after the last operation of a job."""
    return _small(seed, lying=True)


def _small(seed: int, *, lying: bool) -> BlockingWorld:
    rng = np.random.default_rng(seed)
    routes = draw_routes(rng, 6, 4, most=20)
    drawn = draw(durations(routes), 0.2, rng, most_repair=20)
    after = drawn.after.copy()
    after[:, -1] = lying
    hidden = Interruptions(drawn.within, after, drawn.repair)
    return BlockingWorld(routes, hidden, arrivals_s=[0.0, 0.0, 0.0, 5.0, 9.0, 30.0])
