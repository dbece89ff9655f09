"""The short way for a step of the same decodes comes out where the long way does."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Action, Move, Preempt, Start
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.state import InstanceState, RequestState
from policies.serving.making import request

CAN = frozenset({"layer_ranges", "repeat"})
FIELDS = [name for name in RequestState.__slots__ if name not in ("one", "request")]


class LongWay(ServingBoard):
    """A board that never remembers the last step."""

    def _begin(self, instance: InstanceState, step: Step) -> None:
        super()._begin(instance, step)
        self._decodes.clear()


def make(board_class: type[ServingBoard]) -> ServingBoard:
    return board_class([InstanceState("gpu", BlockPool(14, 4), 2)], CAN)


def snapshot(board: ServingBoard) -> Any:
    (instance,) = board.instances.values()
    states = [[getattr(state, name) for name in FIELDS] for state in board.requests.values()]
    grown = [(state.id, count) for state, count in board.grown]
    return repr((states, grown, list(instance.running), list(instance.waiting), instance.busy, vars(instance.kv)))


def act(board: ServingBoard, kind: str, number: int, now_s: float) -> Any:
    """Do one thing, sensible or not; everything about it follows from the board and the arguments."""
    (instance,) = board.instances.values()
    running = list(instance.running.values())
    name = f"r{number % 5}"
    if kind == "arrive":
        if name in board.requests:
            return None
        state = board.add(request(name, 1 + number % 7, most=20))
        state.hashes[:] = range(1000 * number, 1000 * number + 6)
        return board.apply(Move(name, "gpu"))
    if kind == "start":
        return board.apply(Start(name, {"gpu": {}}))
    if kind == "preempt":
        return board.apply(Preempt(name))
    if kind == "finish":
        return board.finish(name, "stop", now_s) if name in board.requests else None
    return step(board, kind, number, running, now_s)


def step(board: ServingBoard, kind: str, number: int, running: list[RequestState], now_s: float) -> Any:
    pieces = [Piece(s.id, s.left_tokens) if s.left_tokens > 1 else s.one for s in running]
    if kind == "some":
        pieces = pieces[: 1 + number % 3]
    if kind == "layered" and pieces:
        state = running[0]
        span = (0, 1) if not state.layers_done else (1, 2)
        pieces = [Piece(state.id, pieces[0].tokens, span)]
    action: Action = Step(instance="gpu", pieces=tuple(pieces), repeat=1 + (number % 3 if kind == "repeat" else 0))
    why = board.apply(action)
    if why is not None or number == 13:  # a step that failed is never advanced
        return why
    assert isinstance(action, Step)
    return [[state.id for state in board.advance(action, now_s)] for _ in range(action.repeat)]


KINDS = st.sampled_from(["arrive", "start", "start", "preempt", "finish", *["all"] * 8, "some", "layered", "repeat"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(KINDS, st.integers(0, 20)), min_size=20, max_size=60))
def test_the_short_way_and_the_long_way_are_one(script: list[tuple[str, int]]) -> None:
    short, long = make(ServingBoard), make(LongWay)
    for now_s, (kind, number) in enumerate(script):
        outcomes = []
        for board in (short, long):
            board.now_s = float(now_s)
            outcomes.append(act(board, kind, number, float(now_s)))
            for instance in board.instances.values():
                instance.busy = False
        assert outcomes[0] == outcomes[1]
        assert snapshot(short) == snapshot(long)


def test_the_short_way_is_taken() -> None:
    board = make(ServingBoard)
    for kind, number in [("arrive", 1), ("start", 1), ("all", 0), ("all", 0), ("all", 0)]:
        act(board, kind, number, 0.0)
        board.instances["gpu"].busy = False
    assert set(board._decodes) == {"gpu"}
