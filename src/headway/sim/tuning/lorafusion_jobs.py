"""Adapters to train, drawn at random: how long their examples are, and when their senders have seen enough."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from headway.core.nouns import Seconds
from headway.policies.tuning.lorafusion_nouns import AdapterJob
from headway.sim.tuning.lorafusion import PipelineWorld, PipeSpec, TrueJob


class DataSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the examples of a data set are: lognormal, cut at both ends.

    Parameters
    ----------
    mean_tokens : float
        Mean before it is cut, > 0.
    sigma : float
        Standard deviation of the logarithm, >= 0.
    most_tokens : int
        Longer ones are cut to this, >= 1; 4096.
    least_tokens : int
        Shorter ones count as so long, >= 1; 16.
    """

    mean_tokens: float
    sigma: float
    most_tokens: int = 4096
    least_tokens: int = 16

    def draw(self, rng: np.random.Generator, num: int) -> tuple[int, ...]:
        """Draw the lengths of so many examples."""
        mu = np.log(self.mean_tokens) - self.sigma**2 / 2
        drawn = np.exp(rng.normal(mu, self.sigma, num)).round().astype(int)
        return tuple(int(one) for one in np.clip(drawn, self.least_tokens, self.most_tokens))


def draw_jobs(
    data: Sequence[DataSpec], seed: int, *, num_batches: int, batch_size: int, every_s: Seconds = 0.0
) -> list[AdapterJob]:
    """Draw one job per data set, with `num_batches` global batches of `batch_size` examples; one comes `every_s`."""
    jobs = []
    for nth, one in enumerate(data):
        rng = np.random.default_rng([seed, nth])
        lengths = tuple(one.draw(rng, batch_size) for _ in range(num_batches))
        jobs.append(AdapterJob(id=f"adapter-{nth}", arrival_s=nth * every_s, lengths=lengths))
    return jobs


SMALL = PipeSpec(num_stages=3, capacity_tokens=1024, tile_tokens=16)
"""The pipeline of the small world."""


def small_world(seed: int, later: int = 0) -> tuple[PipelineWorld, None]:
    """Make a world small enough for contract checks: four adapters, one comes late, one is stopped early.

    Parameters
    ----------
    seed : int
        Of the lengths.
    later : int
        By how many global batches later it is stopped, in 0, 1; nothing visible tells.
    """
    data = [DataSpec(mean_tokens=mean, sigma=0.6, most_tokens=900) for mean in (300, 200, 120, 80)]
    jobs = draw_jobs(data, seed, num_batches=4, batch_size=6)
    late = msgspec.structs.replace(jobs[3], arrival_s=0.01)
    true = [TrueJob(job=jobs[0]), TrueJob(job=jobs[1], num_batches=2 + later), TrueJob(job=jobs[2])]
    return PipelineWorld([*true, TrueJob(job=late)], SMALL), None


def lying_world(seed: int) -> PipelineWorld:
    """Make the small world of a seed in which that job is stopped later."""
    return small_world(seed, later=1)[0]
