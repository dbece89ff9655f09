"""How free an instance is: the decode steps that are left before its memory runs out, with virtual usage counted.

Sun et al. 2024 (arXiv 2406.03243) define it; all amounts are in blocks of KV memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from headway.policies.serving.state import InstanceState, RequestState


@dataclass(frozen=True)
class Freeness:
    """Measures how free instances are.

    Parameters
    ----------
    watermark_frac : float
        Share of the memory that counts as used, in [0, 1).
    target_tokens : int
        Physical load of an instance with requests of high priority, in tokens, >= 0; all memory above is headroom.
    """

    watermark_frac: float
    target_tokens: int

    def of(self, instance: InstanceState) -> float:
        """Return the freeness that migration and scaling go by: of those who wait, the first alone is counted."""
        head = next(iter(by_priority(instance.waiting.values())), None)
        demand = 0 if head is None else instance.kv.blocks_for(head.known_tokens)
        return self._freeness(instance, demand)

    def for_dispatch(self, instance: InstanceState) -> float:
        """Return the freeness that dispatch goes by: all who wait are counted, or a queue would attract more."""
        return self._freeness(instance, sum(instance.kv.blocks_for(s.known_tokens) for s in instance.waiting.values()))

    def without(self, instance: InstanceState, state: RequestState) -> float:
        """Return the freeness of an instance once a running request has left it."""
        blocks, num = self._free_blocks(instance), instance.num_running + bool(instance.waiting) - 1
        return inf if num <= 0 else (blocks + len(state.blocks)) / num

    def having(self, instance: InstanceState, state: RequestState) -> float:
        """Return the freeness of an instance once a request has come to it."""
        blocks = self._free_blocks(instance) - instance.kv.blocks_for(state.known_tokens + 1)
        return blocks / (instance.num_running + bool(instance.waiting) + 1)

    def over_target(self, instance: InstanceState) -> int:
        """Return the blocks above the target load that are held: how much too full it is for high priority."""
        return instance.kv.num_blocks - instance.kv.num_free - instance.kv.blocks_for(self.target_tokens)

    def _free_blocks(self, instance: InstanceState) -> float:
        kv = instance.kv
        free = kv.num_free - int(self.watermark_frac * kv.num_blocks)
        return free - (max(0, kv.num_blocks - kv.blocks_for(self.target_tokens)) if is_high(instance) else 0)

    def _freeness(self, instance: InstanceState, demand_blocks: int) -> float:
        if instance.draining:
            return -inf  # as if a request without end sat there
        num = instance.num_running + bool(instance.waiting)
        return (self._free_blocks(instance) - demand_blocks) / num if num else inf


def is_high(instance: InstanceState) -> bool:
    """Say whether a request of high priority runs on an instance."""
    return any(state.request.priority > 0 for state in instance.running.values())


def was_preempted(instance: InstanceState) -> bool:
    """Say whether somebody waits at an instance who has lost its place there."""
    return any(state.num_preempted for state in instance.waiting.values())


def by_priority(states: Iterable[RequestState]) -> list[RequestState]:
    """Return requests by priority, higher first, and else in the order given."""
    return sorted(states, key=lambda state: -state.request.priority)
