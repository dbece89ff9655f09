"""One instance of a fleet, and what lies between instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headway.core.nouns import Id, Seconds
from headway.policies.serving.adapters import Adapters
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.kv_pool import KvPool
from headway.policies.serving.state import InstanceState
from headway.sim.serving.cost.replica import Replica
from headway.sim.serving.links import Links
from headway.sim.serving.recipe import FleetSpec, KvPoolSpec

ROUND_S: Seconds = 20e-6
"""From asking a holder of keys and values to its answer, per layer: two messages within one node or a fast network.
ASSUMPTION."""


@dataclass(frozen=True)
class Place:
    """One instance of a fleet: what it costs and how large its memory is."""

    id: Id
    spec: FleetSpec
    replica: Replica
    is_spare: bool = False
    """Whether it is not up at the start."""

    @property
    def num_blocks(self) -> int:
        """Size of its KV memory in blocks."""
        return self.spec.kv_blocks or max(1, self.replica.num_kv_tokens // self.spec.block_size)

    @property
    def usd_per_h(self) -> float:
        """What it costs while it is in use."""
        return self.replica.usd_per_h if self.spec.usd_per_h is None else self.spec.usd_per_h

    @property
    def startup_s(self) -> Seconds:
        """How long it takes to come up."""
        return self.replica.load_s if self.spec.startup_s is None else self.spec.startup_s

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before quoting its numbers."""
        if self.spec.usd_per_h is not None or self.spec.calibration:
            return self.replica.notes
        price = f"{self.replica.usd_per_h / self.replica.num_accelerators:g} USD/h is an assumption"
        return *self.replica.notes, f"{self.spec.accelerator}: {price}; usd_per_h in [[fleet]] takes your price."

    def state(self) -> InstanceState:
        """Make it afresh for one run."""
        spec = self.spec
        made = InstanceState(
            self.id,
            BlockPool(self.num_blocks, spec.block_size, spec.caching),
            self.replica.num_layers,
            spec.max_running or 1 << 30,
            num_stages=self.replica.num_stages,
            pool=spec.pool,
            host_blocks=spec.host_blocks,
        )
        made.adapters = Adapters(spec.max_adapters) if spec.max_adapters is not None else None
        return made


def links_of(places: Sequence[Place], pool: KvPoolSpec | None) -> Links:
    """Return the links between some instances, to their hosts and to a pool, each as fast as the slowest."""
    first = places[0].replica
    between_bytes_per_s = min(place.replica.link_bytes_per_s for place in places)
    speed = pool.bytes_per_s if pool is not None and pool.bytes_per_s is not None else between_bytes_per_s
    return Links(
        token_bytes=first.kv_token_bytes,
        between_bytes_per_s=between_bytes_per_s,
        host_bytes_per_s=min(place.replica.host_bytes_per_s for place in places),
        attend_bytes=first.attend_bytes,
        round_s=ROUND_S,
        pool_bytes_per_s=speed,
        pool_latency_s=pool.latency_s if pool is not None else 0.0,
    )


def pool_of(place: Place, spec: KvPoolSpec) -> KvPool:
    """Return the books of a pool for instances with such blocks."""
    block_bytes = place.replica.kv_token_bytes * place.spec.block_size
    num_blocks = max(1, int(spec.gib * 2**30 / block_bytes))
    return KvPool(num_blocks, spec.takes == "all", spec.small_frac)
