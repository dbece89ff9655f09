"""AIBrix's placement of LoRA adapters: which instance gets one that nobody has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from headway.core.actions import Action, Move
from headway.core.events import Changed, Event, Refused
from headway.core.nouns import Id
from headway.policies.serving.nouns import AdapterLoaded, RequestArrived
from headway.policies.serving.pools import takers
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState

PLACEMENTS = ("least-adapters", "bin-pack", "random")


class Placer:
    """Has adapters brought to instances, and says who has them.

    Parameters
    ----------
    placement : str
        Of `PLACEMENTS`: the instance with the fewest adapters; the one with the most that has room; any.
    rng : Generator
        For ``"random"``.
    """

    def __init__(self, placement: str, rng: np.random.Generator) -> None:
        self._placement = placement
        self._rng = rng
        self._asked: dict[Id, Id] = {}  # where adapters were sent that are not on their way yet

    def having(self, state: RequestState, instances: Sequence[InstanceState]) -> Sequence[InstanceState]:
        """Return those of some instances that have a request's adapter, or will; all of them where nobody does."""
        adapter = state.request.adapter
        return [i for i in instances if self._has(i, adapter)] if adapter else instances

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Have the adapter of a new request brought somewhere, if nobody has it."""
        if isinstance(event, AdapterLoaded) or (isinstance(event, Refused) and event.id in self._asked):
            self._asked.pop(event.id, None)
        elif isinstance(event, Changed) and not event.up:
            self._asked = {adapter: to for adapter, to in self._asked.items() if to != event.resource.id}
        elif isinstance(event, RequestArrived) and event.work.adapter and event.work.id in view.unrouted:
            yield from self._place(view.unrouted[event.work.id], view)

    def _place(self, state: RequestState, view: ServingView) -> Iterable[Action]:
        instances, adapter = takers(state, view.instances.values()), state.request.adapter
        if any(self._has(instance, adapter) for instance in instances):
            return
        able = [i for i in instances if _could_load(i, adapter)]
        if able:
            chosen = self._choose(able)
            self._asked[adapter] = chosen.id
            yield Move(adapter, chosen.id)

    def _choose(self, instances: list[InstanceState]) -> InstanceState:
        if self._placement == "random":
            return instances[int(self._rng.integers(len(instances)))]
        if self._placement == "bin-pack":
            with_room = [i for i in instances if i.adapters is not None and len(i.adapters) < i.adapters.room]
            return max(with_room, key=_num_adapters) if with_room else min(instances, key=_num_adapters)
        return min(instances, key=_num_adapters)

    def _has(self, instance: InstanceState, adapter: Id) -> bool:
        return instance.adapters is None or adapter in instance.adapters or self._asked.get(adapter) == instance.id


def _num_adapters(instance: InstanceState) -> int:
    return len(instance.adapters) if instance.adapters is not None else 0


def _could_load(instance: InstanceState, adapter: Id) -> bool:
    adapters = instance.adapters
    return adapters is not None and adapters.why_not(adapter, instance.adapters_in_use) is None
