"""A flow shop small enough for contract checks: all jobs pass three machines in one order, and one breaks down."""

from __future__ import annotations

import numpy as np

from headway.core.nouns import Resource
from headway.policies.shop.nouns import SLOT, ShopJob
from headway.policies.shop.problem import Mode, Task
from headway.sim.shop.breakdowns import Breakdown
from headway.sim.shop.durations import Noise
from headway.sim.shop.small import LongEnds
from headway.sim.shop.world import ShopWorld

NUM_MACHINES = 3
NUM_JOBS = 5


def small_world(seed: int, *, lying: bool = False) -> tuple[ShopWorld, None]:
    """Make a small flow shop.

    Parameters
    ----------
    seed : int
        Of the jobs.
    lying : bool
        Whether the last tasks of jobs take longer than in the honest world of the seed.

    Returns
    -------
    (ShopWorld, None)
        The world; it has no accounts of its own.
    """
    rng = np.random.default_rng([seed, 9])
    machines = [
        Resource(id=f"M{place}", kind="machine", capacity={SLOT: 1.0}, traits={"repair_s": 6.0})
        for place in range(NUM_MACHINES)
    ]
    world = ShopWorld(
        [_job(number, rng) for number in range(NUM_JOBS)],
        machines,
        truth=LongEnds(3.0) if lying else Noise(0.2),
        breakdowns=[Breakdown(machine="M1", at_s=20.0, lasts_s=6.0)],
        after_breakdown="restart" if seed % 2 else "resume",
        rng=np.random.default_rng([seed, 10]),
    )
    return world, None


def lying_world(seed: int) -> ShopWorld:
    """Make the small flow shop of a seed whose jobs end later; it looks the same until the first would have ended."""
    return small_world(seed, lying=True)[0]


def _job(number: int, rng: np.random.Generator) -> ShopJob:
    """Make a job; the first three are there from the start."""
    durations = rng.integers(3, 13, size=NUM_MACHINES).tolist()
    tasks = tuple(
        Task((Mode(duration, ((place, 1),)),), after=(place - 1,) if place else ())
        for place, duration in enumerate(durations)
    )
    arrival_s = 0.0 if number < 3 else 8.0 * (number - 2)
    return ShopJob(
        id=f"J{number}", kind="job", arrival_s=arrival_s, tasks=tasks, due_s=arrival_s + 2.0 * sum(durations)
    )
