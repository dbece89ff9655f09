"""Copies of running requests on other instances: what they reserve, what refuses them, what ends them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headway.core.actions import Action, Move, Preempt, Start
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Copy, Piece, Step, Uncopy
from headway.policies.serving.state import InstanceState
from policies.serving.making import request

SIZE = 4


def make(num_blocks: int = 8, can: frozenset[str] = frozenset({"migrate", "copy"})) -> ServingBoard:
    return ServingBoard([InstanceState(name, BlockPool(num_blocks, SIZE), num_layers=2) for name in "xyz"], can)


def run(board: ServingBoard, *pieces: tuple[str, int], at: str = "x") -> None:
    step = Step(instance=at, pieces=tuple(Piece(*piece) for piece in pieces))
    assert board.apply(step) is None
    board.advance(step, 1.0)
    board.end(step)


def started(prompt: int = 8, num_blocks: int = 8) -> ServingBoard:
    board = make(num_blocks)
    board.add(request("a", prompt, most=20))
    for action in (Move("a", "x"), Start("a", {"x": {}})):
        assert board.apply(action) is None
    return board


def free(board: ServingBoard, name: str) -> int:
    return board.instances[name].kv.num_free


def test_a_copy_reserves_memory_for_what_is_computed_and_the_move_takes_it() -> None:
    board = started()
    run(board, ("a", 8))  # known 9, computed 8
    assert board.apply(Copy("a", "y")) is None
    assert free(board, "y") == 6
    assert board.copies["a"].under_way
    assert (board.copies["a"].tokens, board.copies["a"].until) == (0, 8)
    assert board.apply(Move("a", "y")) == "a copy of it is under way"
    board.books.over("a")
    run(board, ("a", 1))
    assert board.books.num_missing(board.requests["a"], "y") == 1
    assert board.apply(Move("a", "y")) is None
    assert not board.copies
    assert free(board, "x") == 8
    assert free(board, "y") == 5  # ten known tokens
    board.arrive("a")
    run(board, ("a", 1), at="y")
    assert board.requests["a"].output_tokens == 3


def test_a_copy_of_an_uncomputed_prompt_is_of_all_of_it() -> None:
    board = started()
    assert board.apply(Copy("a", "y")) is None
    assert board.copies["a"].until == 8
    assert free(board, "y") == 6


def test_a_second_copy_is_of_the_rest() -> None:
    board = started()
    run(board, ("a", 8))
    assert board.apply(Copy("a", "y")) is None
    assert board.apply(Copy("a", "y")) == "a copy of it is under way"
    board.books.over("a")
    assert board.apply(Copy("a", "y")) == "all of it is there already"
    run(board, ("a", 1))
    assert board.apply(Copy("a", "z")) == "there is a copy of it at y"
    assert board.apply(Copy("a", "y")) is None
    assert (board.copies["a"].tokens, board.copies["a"].until, free(board, "y")) == (8, 9, 5)


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (Copy("nobody", "y"), "it is not running"),
        (Copy("a", "w"), "there is no instance 'w'"),
        (Copy("a", "x"), "it is there already"),
        (Uncopy("a"), "there is no copy of it"),
    ],
)
def test_what_cannot_be_is_refused(action: Action, why: str) -> None:
    board = started()
    before = board.fingerprint()
    assert board.apply(action) == why
    assert board.fingerprint() == before


def test_no_room_refuses_a_copy_and_the_ability_is_asked_for() -> None:
    board = started()
    board.instances["y"].kv.allocate(7)
    assert board.apply(Copy("a", "y")) == "y has no room for it"
    assert make(can=frozenset({"migrate"})).apply(Copy("a", "y")) == "this executor cannot copy"


@pytest.mark.parametrize("end", ["uncopy", "preempt", "finish", "lose source", "lose copy", "move elsewhere"])
def test_what_ends_a_copy_gives_its_memory_back(end: str) -> None:
    board = started()
    run(board, ("a", 8))
    assert board.apply(Copy("a", "y")) is None
    if end == "finish":
        board.finish("a", "stop", 2.0)
    elif end.startswith("lose"):
        board.fail("x" if end == "lose source" else "y")
    else:
        ending = {"uncopy": Uncopy("a"), "preempt": Preempt("a"), "move elsewhere": Move("a", "z")}[end]
        assert board.apply(ending) is None
    assert not board.copies
    if "y" in board.instances:
        assert free(board, "y") == 8


def test_who_is_in_no_step_can_leave_a_busy_instance() -> None:
    board = started()
    board.add(request("b", 8))
    for action in (Move("b", "x"), Start("b", {"x": {}})):
        assert board.apply(action) is None
    run(board, ("a", 8))
    step = Step(instance="x", pieces=(Piece("b", 8),))
    assert board.apply(step) is None
    assert board.apply(Move("b", "y")) == "a step of it is under way"
    assert board.apply(Move("a", "y")) is None
    assert [state.id for state in board.advance(step, 2.0)] == ["b"]
    board.end(step)
    whole = Step(instance="x", pieces=board.instances["x"].decodes.pieces)
    assert board.apply(whole) is None
    assert board.apply(Move("b", "y")) == "a step of it is under way"


class TwoOfThem(RuleBasedStateMachine):
    """Requests that run, are copied, move and end at random on two small instances."""

    def __init__(self) -> None:
        super().__init__()
        states = [InstanceState(name, BlockPool(9, SIZE), num_layers=2) for name in "xy"]
        self.board = ServingBoard(states, frozenset({"migrate", "copy"}))
        self.count = 0

    def apply(self, action: Action) -> None:
        before = self.board.fingerprint()
        if self.board.apply(action) is not None:
            assert self.board.fingerprint() == before

    def pick(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from([*self.board.requests, "nobody"]))

    @rule(prompt=st.integers(1, 12), at=st.sampled_from("xy"))
    def arrive(self, prompt: int, at: str) -> None:
        self.count += 1
        id_ = self.board.add(request(f"r{self.count}", prompt, most=12)).id
        self.apply(Move(id_, at))
        self.apply(Start(id_, {at: {}}))

    @rule(data=st.data(), kind=st.sampled_from([Copy, Copy, Copy, Move]), to=st.sampled_from("xy"))
    def send(self, data: st.DataObject, kind: Any, to: str) -> None:
        id_ = self.pick(data)
        if id_ not in self.board.unrouted:
            self.apply(kind(id_, to))

    @rule(data=st.data(), kind=st.sampled_from([Preempt, Uncopy]))
    def give_up(self, data: st.DataObject, kind: Any) -> None:
        self.apply(kind(self.pick(data)))

    @rule(data=st.data())
    def copied(self, data: st.DataObject) -> None:
        coming = [c for c in self.board.copies.values() if self.board.requests[c.id].computed_tokens >= c.until]
        if coming:
            self.board.books.over(data.draw(st.sampled_from(coming)).id)

    @rule(at=st.sampled_from("xy"))
    def step(self, at: str) -> None:
        instance = self.board.instances[at]
        for id_ in list(instance.flying):
            self.board.arrive(id_)
        pieces = [Piece(state.id, state.left_tokens) for state in instance.running.values()]
        step = Step(instance=at, pieces=tuple(pieces))
        if pieces and self.board.apply(step) is None:
            for state in self.board.advance(step, 1.0):
                if state.output_tokens >= state.request.max_tokens:
                    self.board.finish(state.id, "length", 1.0)
            self.board.end(step)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        id_ = self.pick(data)
        if id_ != "nobody":
            self.board.finish(id_, "cancelled", 1.0)

    @invariant()
    def every_block_has_its_holders(self) -> None:
        for instance in self.board.instances.values():
            expected = [0] * instance.kv.num_blocks
            held = [s.blocks for s in (*instance.running.values(), *instance.flying.values())]
            held += [copy.blocks for copy in self.board.copies.values() if copy.to == instance.id]
            for block in (block for blocks in held for block in blocks):
                expected[block] += 1
            assert instance.kv.holders() == tuple(expected)

    @invariant()
    def copies_are_of_what_runs(self) -> None:
        for id_, copy in self.board.copies.items():
            state = self.board.requests[id_]
            assert state.instance == copy.source != copy.to
            assert id_ in self.board.instances[copy.source].running
            assert copy.tokens <= copy.until <= len(copy.blocks) * SIZE
            assert copy.tokens <= state.computed_tokens
            assert copy.until <= state.known_tokens


TestTwoOfThem = TwoOfThem.TestCase
TestTwoOfThem.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
