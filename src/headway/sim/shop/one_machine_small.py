"""A single machine with due times, small enough for contract checks."""

from __future__ import annotations

import numpy as np

from headway.core.nouns import Resource
from headway.policies.shop.nouns import SLOT, ShopJob
from headway.policies.shop.problem import Mode, Task
from headway.sim.shop.breakdowns import Breakdown
from headway.sim.shop.durations import Noise
from headway.sim.shop.small import LongEnds
from headway.sim.shop.world import ShopWorld

NUM_JOBS = 7


def small_world(seed: int, *, lying: bool = False, troubled: bool = True) -> tuple[ShopWorld, None]:
    """Make one machine with seven jobs.

    Parameters
    ----------
    seed : int
        Of the jobs.
    lying : bool
        Whether jobs take longer than in the honest world of the seed; nothing visible tells before the first ends.
    troubled : bool
        Whether some jobs come late and the machine breaks down.

    Returns
    -------
    (ShopWorld, None)
        The world; it has no accounts of its own.
    """
    rng = np.random.default_rng([seed, 17])
    machine = Resource(id="M0", kind="machine", capacity={SLOT: 1.0}, traits={"repair_s": 6.0})
    world = ShopWorld(
        [_job(number, rng, troubled) for number in range(NUM_JOBS)],
        [machine],
        objective="total_tardiness",
        truth=LongEnds(3.0) if lying else Noise(0.2),
        breakdowns=[Breakdown(machine="M0", at_s=40.0, lasts_s=6.0)] if troubled else [],
        rng=np.random.default_rng([seed, 18]),
    )
    return world, None


def lying_world(seed: int) -> ShopWorld:
    """Make the small machine of a seed whose jobs take longer."""
    return small_world(seed, lying=True)[0]


def plain_world(seed: int, *, lying: bool = False) -> tuple[ShopWorld, None]:
    """Make the small machine whose jobs are all there from the start, and which never breaks down."""
    return small_world(seed, lying=lying, troubled=False)


def lying_plain_world(seed: int) -> ShopWorld:
    """Make the plain machine of a seed whose jobs take longer."""
    return plain_world(seed, lying=True)[0]


def _job(number: int, rng: np.random.Generator, troubled: bool) -> ShopJob:
    duration, slack = rng.integers(3, 13), rng.integers(0, 40)
    arrival_s = 10.0 * (number - 4) if troubled and number > 4 else 0.0
    return ShopJob(
        id=f"J{number}",
        kind="job",
        arrival_s=arrival_s,
        tasks=(Task((Mode(int(duration), ((0, 1),)),)),),
        due_s=arrival_s + float(duration + slack),
    )
