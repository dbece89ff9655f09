"""Worlds small enough for contract checks."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from headway.core.nouns import Slo
from headway.core.slo import SloClass
from headway.policies.serving.accounts import RequestAccounts
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Microbatch, TuneJob
from headway.policies.serving.state import InstanceState
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.speculation import Speculation
from headway.sim.serving.tuning import Tuning
from headway.sim.serving.units import ChunkUnits, TrueJob
from headway.sim.serving.world import ServingWorld


def small_world(seed: int, longer: int = 0, jobs: Sequence[TrueJob] = ()) -> tuple[ServingWorld, RequestAccounts]:
    """Make a world small enough for contract checks, with shared prefixes and so little memory that some are preempted.

    Parameters
    ----------
    seed : int
        Of the requests.
    longer : int
        By how many tokens outputs are longer than those of the same seed by default, >= 0; nothing visible tells.
    jobs : sequence of TrueJob
        Fine-tuning jobs that arrive, too.

    Returns
    -------
    (ServingWorld, RequestAccounts)
        The world, with two unequal instances, and accounts with one class of promises.
    """
    requests = RandomRequests(rate_per_s=40.0).draw(seed)
    requests = [structs.replace(true, output_tokens=true.output_tokens + longer) for true in requests]
    instances = [
        InstanceState("large", BlockPool(80), num_layers=8),
        InstanceState("small", BlockPool(48), num_layers=8),
    ]
    promise = SloClass(name="default", slos=(Slo("ttft_s", 1.0), Slo("tpot_s", 0.1)))
    speculation = Speculation(acceptance_frac=0.7, draft_s=1e-3, seed=seed)
    units = ChunkUnits(LinearPrice(), num_layers=8)
    tuning = Tuning(jobs, {i.id: units for i in instances}, noise_frac=0.02, until_done=True, seed=seed)
    world = ServingWorld(
        requests, instances, speculation=speculation, promises=[promise], tuning=tuning if jobs else None
    )
    return world, RequestAccounts([promise])


def lying_world(seed: int) -> ServingWorld:
    """Make the small world of a seed with longer outputs; it looks the same until the first would have ended."""
    return small_world(seed, longer=7)[0]


def tuning_world(seed: int, longer: int = 0) -> tuple[ServingWorld, RequestAccounts]:
    """Make the small world of a seed with two fine-tuning jobs; see `small_world`."""
    batches = tuple(Microbatch(96, updates=number % 4 == 3) for number in range(40))
    jobs = [
        TrueJob(job=TuneJob(id=name, arrival_s=at_s, num_layers=8, microbatches=batches, kv_blocks=6))
        for name, at_s in (("first", 0.0), ("second", 0.3))
    ]
    return small_world(seed, longer, jobs)


def lying_tuning_world(seed: int) -> ServingWorld:
    """Make the small world with jobs with longer outputs; it looks the same until the first would have ended."""
    return tuning_world(seed, longer=7)[0]
