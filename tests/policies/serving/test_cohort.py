"""Decodes that are advanced as one come out where they do when they are looked at one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Move, Preempt, Start
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.state import InstanceState, RequestState
from policies.serving.making import request

CAN = frozenset({"layer_ranges", "repeat"})
SIZE = 4


class Player:
    """A board, and whether its steps name the decodes in the order in which they are advanced as one."""

    def __init__(self, as_one: bool) -> None:
        self.instance = InstanceState("gpu", BlockPool(14, SIZE), 2)
        self.board = ServingBoard([self.instance], CAN)
        self.as_one = as_one
        self.num_whole = 0

    def act(self, kind: str, number: int, now_s: float) -> Any:
        """Do one thing, sensible or not; everything about it follows from the board and the arguments."""
        self.board.now_s = now_s
        name = f"r{number % 5}"
        if kind == "arrive":
            return self.arrive(name, number)
        if kind == "start":
            return self.board.apply(Start(name, {"gpu": {}}))
        if kind == "preempt":
            return self.board.apply(Preempt(name))
        if kind == "finish":
            return self.board.finish(name, "stop", now_s) if name in self.board.requests else None
        return self.step(kind, number, now_s)

    def arrive(self, name: str, number: int) -> Any:
        if name in self.board.requests:
            return None
        state = self.board.add(request(name, 1 + number % 7, most=20))
        state.hashes[:] = range(1000 * number, 1000 * number + 6)
        return self.board.apply(Move(name, "gpu"))

    def step(self, kind: str, number: int, now_s: float) -> Any:
        step = Step(
            instance="gpu",
            pieces=self.pieces(kind, number),
            repeat=1 + (number % 3 if kind == "repeat" else 0),
        )
        why = self.board.apply(step)
        if why is not None:
            return why
        self.num_whole += self.board.parts(step)[0]
        told = []
        for run in range(step.repeat if number != 13 else 0):  # a step that failed is never advanced
            told.append({state.id for state in self.board.advance(step, now_s + run / 8)})
            if run + 1 < step.repeat and not self.board.again(step):
                break
        self.board.end(step)
        return told

    def pieces(self, kind: str, number: int) -> tuple[Piece, ...]:
        decodes = list(self.instance.decodes.pieces)
        others = [Piece(state.id, state.left_tokens) for state in self.instance.prefills.values()]
        if kind == "layered" and others:
            state = next(iter(self.instance.prefills.values()))
            others[0] = Piece(state.id, others[0].tokens, (0, 1) if not state.layers_done else (1, 2))
        if kind == "some":
            decodes = sorted(decodes, key=lambda piece: piece.request)[: number % 3]
        if kind == "decodes":
            others = []
        return (*decodes, *others) if self.as_one else (*others, *reversed(decodes))

    def snapshot(self) -> Any:
        return {state.id: self.of(state) for state in self.board.requests.values()}, self.instance.kv.num_free

    def of(self, state: RequestState) -> Any:
        decoding = state.id in self.instance.decodes.members
        prefilling = state.id in self.instance.prefills
        assert decoding + prefilling == (state.id in self.instance.running)
        assert prefilling or decoding == (state.decoding and not state.layers_done and bool(state.blocks))
        return (
            state.known_tokens, state.computed_tokens, state.output_tokens, state.kv_tokens, len(state.blocks),
            state.remembered, state.first_step_s, state.first_token_s, state.last_token_s, state.layers_done,
            state.instance, decoding, prefilling, state.id in self.instance.waiting,
        )  # fmt: skip


def check_cohort(instance: InstanceState) -> None:
    """What is kept for all of them together is what each of them says."""
    decodes = instance.decodes
    assert decodes.context_tokens == sum(state.computed_tokens for state in decodes)
    assert set(decodes.short) == {state.id for state in decodes if state.known_tokens > state.kv_tokens}
    for num_runs in (1, 2, 5, 9):
        needs = [max(0, -(-(s.known_tokens + num_runs - 1 - s.kv_tokens) // SIZE)) for s in decodes]
        assert decodes.num_short(num_runs) == sum(needs)
    assert [piece.request for piece in decodes.pieces] == [state.id for state in decodes]


KINDS = st.sampled_from(
    ["arrive", "start", "start", "preempt", "finish", *["all"] * 6, "decodes", "decodes", "some", "layered", "repeat"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(KINDS, st.integers(0, 20)), min_size=20, max_size=60))
def test_as_one_and_one_by_one_come_to_the_same(script: list[tuple[str, int]]) -> None:
    short, long = Player(as_one=True), Player(as_one=False)
    for now_s, (kind, number) in enumerate(script):
        outcomes = [player.act(kind, number, float(now_s)) for player in (short, long)]
        if isinstance(outcomes[0], str):  # each names the first piece that it finds wrong
            assert isinstance(outcomes[1], str)
        else:
            assert outcomes[0] == outcomes[1]
        assert short.snapshot() == long.snapshot()
        check_cohort(short.instance)
        check_cohort(long.instance)


def test_decodes_are_advanced_as_one_where_they_can_be() -> None:
    player = Player(as_one=True)
    for kind, number in [("arrive", 1), ("start", 1), ("arrive", 2), ("start", 2), ("all", 0), ("all", 0), ("all", 0)]:
        player.act(kind, number, 0.0)
    assert len(player.instance.decodes) == 2
    assert player.num_whole == 2


def test_coasting_is_advancing_again_and_again() -> None:
    one, many = Player(as_one=True), Player(as_one=True)
    for player in (one, many):
        for kind, number in [("arrive", 1), ("start", 1), ("arrive", 2), ("start", 2), ("all", 0)]:
            player.act(kind, number, 0.0)
        step = Step(instance="gpu", pieces=player.instance.decodes.pieces, repeat=7)
        assert player.board.apply(step) is None
        if player is one:
            for run in range(6):
                player.board.advance(step, float(run))
                assert player.board.again(step)
            player.board.advance(step, 6.0)
        else:
            player.board.coast(step, [0.0, 1.0, 2.0], more=True)
            player.board.coast(step, [3.0, 4.0, 5.0, 6.0], more=False)
        player.board.end(step)
        check_cohort(player.instance)
    assert one.snapshot() == many.snapshot()
    assert one.instance.kv.holders() == many.instance.kv.holders()
