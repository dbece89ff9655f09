"""Live migration in stages: most of a request is copied while it goes on, and the little that is left when it pauses.

Sun et al. 2024 (arXiv 2406.03243) describe it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headway.core.actions import Action, Move
from headway.core.events import Changed, Event, Failed, Finished, Refused
from headway.core.nouns import Id
from headway.policies.serving.nouns import Copied, Copy, RequestMoved, StepDone, Uncopy
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState


@dataclass
class Migration:
    """One request on its way from an instance to another.

    Attributes
    ----------
    stage : int
        How many copies were begun.
    ready : bool
        Whether the last of them is over.
    moving : bool
        Whether it has left.
    """

    source: Id
    to: Id
    stage: int = 1
    ready: bool = False
    moving: bool = False


class Migrations:
    """Those under way; at most one from or to an instance.

    Parameters
    ----------
    max_stages : int
        Copies of one request before the migration is given up, >= 1.
    last_stage_blocks : int
        The request pauses once fewer blocks than this are missing, >= 1.
    """

    def __init__(self, max_stages: int, last_stage_blocks: int) -> None:
        self.max_stages = max_stages
        self.last_stage_blocks = last_stage_blocks
        self._under_way: dict[Id, Migration] = {}

    @property
    def engaged(self) -> set[Id]:
        """The instances that have to do with one."""
        return {name for one in self._under_way.values() for name in (one.source, one.to)}

    def begin(self, state: RequestState, to: InstanceState) -> Action:
        """Begin the first stage."""
        self._under_way[state.id] = Migration(state.instance, to.id)
        return Copy(state.id, to.id)

    def hear(self, event: Event, view: ServingView) -> Iterator[Action]:
        """Go on with those that an event is about."""
        if isinstance(event, Copied):
            yield from self._copied(event, view)
        elif isinstance(event, StepDone):
            for id_, one in [*self._under_way.items()]:
                if one.ready and one.source == event.instance and not one.moving:
                    yield from self._go_on(id_, one, view)
        elif isinstance(event, RequestMoved | Finished | Failed):
            self._under_way.pop(event.id, None)
        elif isinstance(event, Refused) and event.action in ("Copy", "Move"):
            yield from self._give_up(event.id, view)
        elif isinstance(event, Changed):
            self._under_way = {
                id_: one for id_, one in self._under_way.items() if {one.source, one.to} <= view.instances.keys()
            }

    def _copied(self, event: Copied, view: ServingView) -> Iterator[Action]:
        one = self._under_way.get(event.id)
        source = view.instances.get(one.source) if one is not None else None
        if one is not None and source is not None:
            one.ready = True
            if not source.busy:
                yield from self._go_on(event.id, one, view)

    def _go_on(self, id: Id, one: Migration, view: ServingView) -> Iterator[Action]:
        copy, state, to = view.copies.get(id), view.requests.get(id), view.instances.get(one.to)
        if copy is None or state is None or to is None:  # it was preempted
            del self._under_way[id]
            return
        num_missing = to.kv.blocks_for(state.computed_tokens - copy.tokens)
        if num_missing >= self.last_stage_blocks and one.stage < self.max_stages:
            one.stage, one.ready = one.stage + 1, False
            yield Copy(id, one.to)
            return
        num_more = to.kv.blocks_for(state.known_tokens) - len(copy.blocks)
        has_room = num_more <= to.kv.num_free and to.num_running < to.max_running and not to.draining
        if num_missing >= self.last_stage_blocks or not has_room:
            yield from self._give_up(id, view)
            return
        one.moving = True
        yield Move(id, one.to)

    def _give_up(self, id: Id, view: ServingView) -> Iterator[Action]:
        if self._under_way.pop(id, None) is not None and id in view.copies:
            yield Uncopy(id)
