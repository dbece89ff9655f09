"""Which request should move from which instance to which other.

Sun et al. 2024 (arXiv 2406.03243) describe the rule; that a pair must gain by it is a variant in the authors' code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import isfinite

from headway.core.nouns import Id
from headway.policies.serving.llumnix_load import Freeness, was_preempted
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState


@dataclass(frozen=True)
class Pairs:
    """Pairs the least free instance with the freest, the next with the next.

    Parameters
    ----------
    freeness : Freeness
        The measure.
    below : float
        Instances less free than this are sources, as are those where somebody was preempted; freer ones destinations.
    """

    freeness: Freeness
    below: float

    def find(self, view: ServingView, engaged: Collection[Id]) -> Iterator[tuple[RequestState, InstanceState]]:
        """Yield requests and where each should go; at most one from or to an instance, none where one is engaged."""
        loads = [(self.freeness.of(i), i) for i in view.instances.values() if i.id not in engaged]
        calm = [(free, i) for free, i in loads if free > self.below and not was_preempted(i)]
        sources = [(free, i) for free, i in loads if free < self.below or was_preempted(i)]
        pairs = zip(sorted(sources, key=_free), sorted(calm, key=_free, reverse=True), strict=False)
        for (source_free, source), (to_free, to) in pairs:
            state = _who_goes(source, view)
            if state is not None and source_free < to_free and self._gains(state, source, to, to_free - source_free):
                yield state, to

    def _gains(self, state: RequestState, source: InstanceState, to: InstanceState, gap: float) -> bool:
        after = self.freeness.having(to, state)
        has_room = to.num_running < to.max_running and to.kv.blocks_for(state.known_tokens + 1) <= to.kv.num_free
        if not has_room or after <= self.below:
            return False
        return not isfinite(gap) or abs(after - self.freeness.without(source, state)) < gap


def _who_goes(source: InstanceState, view: ServingView) -> RequestState | None:
    """Return the decoding request of the lowest priority, the shortest of these."""
    able = [state for state in source.decodes if state.id not in view.copies]
    return min(able, key=lambda state: (state.request.priority, state.known_tokens), default=None)


def _free(load: tuple[float, InstanceState]) -> float:
    return load[0]
