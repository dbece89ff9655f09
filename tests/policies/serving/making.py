"""Requests and a single instance, made and stepped by hand."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.actions import Move
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request
from headway.policies.serving.seats import Batch
from headway.policies.serving.state import InstanceState, RequestState

Pieces = list[tuple[str, int]]


def request(id: str, prompt: int = 100, most: int = 10, arrival_s: float = 0.0, hashes: Sequence[int] = ()) -> Request:
    return Request(id=id, arrival_s=arrival_s, prompt_tokens=prompt, max_tokens=most, hashes=tuple(hashes))


class OneInstance:
    """A board with one instance, and a batch seat that is asked for one step after the other."""

    def __init__(self, seat: Batch | None = None, num_blocks: int = 64, block_size: int = 16) -> None:
        self.instance = InstanceState("gpu", BlockPool(num_blocks, block_size), num_layers=4)
        self.board = ServingBoard([self.instance], frozenset({"layer_ranges", "repeat"}))
        self.seat = seat
        self.preempted: list[str] = []

    def arrive(self, *ids: str, prompt: int = 100, most: int = 10, hashes: Sequence[int] = ()) -> None:
        for id_ in ids:
            self.board.add(request(id_, prompt, most, self.board.now_s, hashes))
            assert self.board.apply(Move(id_, "gpu")) is None

    def state(self, id: str) -> RequestState:
        return self.board.requests[id]

    def turn(self) -> Pieces:
        """Ask the seat for a step, carry it out, and end the requests that have all they asked for."""
        assert self.seat is not None
        draft = InstanceDraft(self.instance)
        step = self.seat.form(self.instance, draft, self.board.now_s)
        self.preempted = sorted(draft.preempted)
        for action in draft.actions:
            assert self.board.apply(action) is None, action
        assert draft.free_blocks <= self.instance.kv.num_free  # growth of running requests comes with the step
        if step is None:
            return []
        assert self.board.apply(step) is None
        assert draft.free_blocks <= self.instance.kv.num_free
        self.board.now_s += 1.0
        for state in self.board.advance(step, self.board.now_s):
            if state.output_tokens >= state.request.max_tokens:
                self.board.finish(state.id, "length", self.board.now_s)
        self.board.end(step)
        return [(piece.request, piece.tokens) for piece in step.pieces]

    @property
    def waiting(self) -> list[str]:
        return list(self.instance.waiting)

    @property
    def running(self) -> list[str]:
        return list(self.instance.running)
