"""A real-time serving engine in which only the model is fake: steps sleep on a clock for what a price list says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial

from headway.core.actions import Action, Reject, Wake
from headway.core.clock import Clock
from headway.core.events import Event, Failed
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import RequestArrived, Step, StepDone
from headway.policies.serving.state import InstanceState
from headway.sim.serving.price import BatchShape, Chunk, StepPrice
from headway.sim.serving.truth import TrueRequest
from twin.inbox import END, NEWS, Inbox


class FakeEngine:
    """Keeps the same board as the world, and shares no other code with it."""

    def __init__(
        self,
        requests: Sequence[TrueRequest],
        instances: Sequence[InstanceState],
        price: StepPrice,
        clock: Clock,
        can: frozenset[str] = frozenset({"layer_ranges"}),
    ) -> None:
        self.view = ServingBoard(instances, can)
        self._requests = requests
        self._price = price
        self._clock = clock
        self._stops_at = {true.request.id: true.output_tokens for true in requests}
        self._hashes = {true.request.id: (*true.request.hashes, *true.output_hashes) for true in requests}
        self._num_untold = len(requests)

    async def events(self) -> AsyncIterator[Event]:
        self._inbox = Inbox(self._clock)
        self._expect()
        async for event in self._inbox.told(self._is_drained):
            self.view.now_s = self._clock.now_s()
            yield event

    def _expect(self) -> None:
        for true in self._requests:
            self._inbox.later(true.request.arrival_s, NEWS, partial(self._arrive, true))

    def _is_drained(self) -> bool:
        return not self._num_untold and not self.view.requests

    async def apply(self, action: Action) -> str | None:
        if isinstance(action, Wake):
            self._inbox.wake(action)
            return None
        why = self.view.apply(action)
        if why is None and isinstance(action, Step):
            self._inbox.spawn(self._run(action))
        if why is None and isinstance(action, Reject):
            self._num_untold += 1
            self._inbox.put(NEWS, partial(self._fail, action))
        return why

    def _arrive(self, true: TrueRequest) -> Iterator[Event]:
        self._num_untold -= 1
        self.view.now_s = self._clock.now_s()
        self.view.add(true.request)
        yield RequestArrived(at_s=self.view.now_s, work=true.request)

    def _fail(self, action: Reject) -> Iterator[Event]:
        self._num_untold -= 1
        yield Failed(at_s=self._clock.now_s(), id=action.id, why=action.why)

    async def _run(self, step: Step) -> None:
        start_s = self._clock.now_s()
        took_s = self._price.step_s(self._shape(step))
        await self._clock.sleep_until(start_s + took_s)
        self._inbox.put(END, partial(self._end, step, start_s))

    def _shape(self, step: Step, share: float = 1.0) -> BatchShape:
        """Look every piece up, one by one."""
        states = [(piece, self.view.requests[piece.request]) for piece in step.pieces]
        is_decode = [piece.layers is None and state.decoding for piece, state in states]
        contexts = [state.computed_tokens for (_, state), one in zip(states, is_decode, strict=True) if one]
        num_layers = self.view.instances[step.instance].num_layers
        chunks = [
            Chunk(piece.tokens, state.computed_tokens, (last - first) / num_layers)
            for (piece, state), one in zip(states, is_decode, strict=True)
            if not one
            for first, last in [piece.layers or (0, num_layers)]
        ]
        return BatchShape(len(contexts), sum(contexts), tuple(chunks), share)

    def _end(self, step: Step, start_s: float) -> Iterator[Event]:
        yield from self._give(step)
        self.view.end(step)
        now_s = self.view.now_s
        yield StepDone(at_s=now_s, instance=step.instance, step_s=now_s - start_s, num_tokens=step.num_tokens)

    def _give(self, step: Step) -> Iterator[Event]:
        now_s = self.view.now_s = self._clock.now_s()
        instance = self.view.instances[step.instance]
        emitted = self.view.advance(step, now_s)
        for state in emitted:
            state.hashes[:] = self._hashes[state.id][: state.known_tokens // instance.kv.block_size]
        for state in emitted:
            stops = state.output_tokens == self._stops_at[state.id]
            if stops or state.output_tokens == state.request.max_tokens:
                yield self.view.finish(state.id, "stop" if stops else "length", now_s)
