"""A shop small enough for contract checks: jobs that arrive, machines that break down, a choice of machines."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from headway.core.nouns import Resource
from headway.policies.shop.nouns import SLOT, ShopJob
from headway.policies.shop.problem import Mode, Task
from headway.sim.shop.breakdowns import Breakdown
from headway.sim.shop.durations import Noise
from headway.sim.shop.world import ShopWorld

NUM_MACHINES = 3
NUM_JOBS = 5


class LongEnds(Struct, frozen=True):
    """Factors as in the honest world, but for the last task of every job, which takes `times` as long."""

    times: float

    def factors(self, job: ShopJob, rng: np.random.Generator) -> list[float]:
        """Return what the tasks of a job really take, each as a factor of what is expected."""
        *others, last = Noise(0.2).factors(job, rng)
        return [*others, self.times * last]


def small_world(seed: int, *, lying: bool = False, has_choice: bool = True) -> tuple[ShopWorld, None]:
    """Make a small shop: five jobs of three tasks on three machines, of which one breaks down.

    Parameters
    ----------
    seed : int
        Of the jobs.
    lying : bool
        Whether the last tasks of jobs take longer than in the honest world of the seed; nothing visible tells before
        the first of them ends there.
    has_choice : bool
        Whether some tasks can choose their machine.

    Returns
    -------
    (ShopWorld, None)
        The world; it has no accounts of its own.
    """
    rng = np.random.default_rng([seed, 7])
    machines = [
        Resource(id=f"M{place}", kind="machine", capacity={SLOT: 1.0}, traits={"repair_s": 6.0})
        for place in range(NUM_MACHINES)
    ]
    jobs = [_job(number, rng, has_choice) for number in range(NUM_JOBS)]
    world = ShopWorld(
        jobs,
        machines,
        truth=LongEnds(3.0) if lying else Noise(0.2),
        breakdowns=[Breakdown(machine="M1", at_s=20.0, lasts_s=6.0)],
        after_breakdown="restart" if seed % 2 else "resume",
        rng=np.random.default_rng([seed, 8]),
    )
    return world, None


def lying_world(seed: int) -> ShopWorld:
    """Make the small shop of a seed whose jobs end later; it looks the same until the first would have ended."""
    return small_world(seed, lying=True)[0]


def job_shop_world(seed: int, *, lying: bool = False) -> tuple[ShopWorld, None]:
    """Make the small shop without a choice of machines."""
    return small_world(seed, lying=lying, has_choice=False)


def lying_job_shop_world(seed: int) -> ShopWorld:
    """Make the small shop without a choice of machines whose jobs end later."""
    return job_shop_world(seed, lying=True)[0]


def _job(number: int, rng: np.random.Generator, has_choice: bool) -> ShopJob:
    """Make a job; the first three are there from the start, the second task of every other job has a choice."""
    route = rng.permutation(NUM_MACHINES).tolist()
    durations = rng.integers(3, 13, size=(NUM_MACHINES, 2)).tolist()
    tasks = []
    for place, machine in enumerate(route):
        modes = [Mode(durations[place][0], ((machine, 1),))]
        if has_choice and place == 1 and number % 2:
            modes.append(Mode(durations[place][1], (((machine + 1) % NUM_MACHINES, 1),)))
        tasks.append(Task(tuple(modes), after=(place - 1,) if place else ()))
    arrival_s = 0.0 if number < 3 else 8.0 * (number - 2)
    work_s = float(sum(duration for duration, _ in durations))
    return ShopJob(
        id=f"J{number}", kind="job", arrival_s=arrival_s, tasks=tuple(tasks), due_s=arrival_s + 2.0 * work_s,
        weight=float(1 + number % 2),
    )  # fmt: skip
