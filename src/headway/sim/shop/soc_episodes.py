"""Episodes on a system on a chip, for whoever learns to order its tasks."""

from __future__ import annotations

import numpy as np

from headway.core.learning import Asking
from headway.core.nouns import Seconds
from headway.policies.shop.deepsocs import DeepSocs
from headway.sim.shop.episodes import episode
from headway.sim.shop.soc_applications import top, top_chip
from headway.sim.shop.soc_world import SocWorld, stream

NUM_JOBS = 20
USUAL_S = 110.0
"""About what a job takes there."""


class Earned:
    """The reward so far, and when it was asked for: jobs done, less the time that jobs spent, in usual times of a job.

    A policy that is as quick as usual earns nothing in the mean, so that time passed does not blur what was earned.

    Parameters
    ----------
    usual_s : float
        What a job usually takes, in seconds, > 0.
    """

    def __init__(self, usual_s: Seconds) -> None:
        self.usual_s = usual_s
        self.at_s: list[Seconds] = []

    def __call__(self, world: SocWorld) -> float:
        """Return all that has come in since the beginning."""
        now_s = world.view.now_s
        self.at_s.append(now_s)
        spent_s = sum(world.took_s.values()) + sum(now_s - state.job.arrival_s for state in world.view.jobs.values())
        return len(world.took_s) - spent_s / self.usual_s


def asking(seed: int) -> Asking[float]:
    """Begin an episode: jobs of ten tasks on a chip of three elements, some of them slower or quicker than expected."""
    rng = np.random.default_rng(seed)
    scale_s, noise = float(rng.uniform(20.0, 60.0)), float(rng.uniform(0.0, 0.5))
    world = SocWorld(stream((top(),), seed, num_jobs=NUM_JOBS, scale_s=scale_s, noise=noise), top_chip())
    return episode(world, DeepSocs(max_tasks=10), Earned(USUAL_S), seed=seed)
