"""The short way of a step that is run over and over comes to what the long way does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.actions import Move, Preempt, Start
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.state import InstanceState, RequestState
from policies.serving.making import request


def decoding(*ids: str, prompt: int = 20, num_blocks: int = 64) -> ServingBoard:
    """A board whose requests run and have been given one token each."""
    board = ServingBoard([InstanceState("gpu", BlockPool(num_blocks), num_layers=2)], frozenset({"repeat"}))
    for name in ids:
        board.add(request(name, prompt=prompt, most=500))
        assert board.apply(Move(name, "gpu")) is None
        assert board.apply(Start(name, {"gpu": {"kv_tokens": prompt}})) is None
    run(board, step(board, *ids, tokens=prompt))
    return board


def step(board: ServingBoard, *ids: str, tokens: int = 1, repeat: int = 1) -> Step:
    states = [board.requests[name] for name in ids]
    pieces = tuple(state.one if tokens == 1 else Piece(state.id, tokens) for state in states)
    return Step(instance="gpu", pieces=pieces, repeat=repeat)


def run(board: ServingBoard, todo: Step, at_s: float = 1.0) -> list[str]:
    assert board.apply(todo) is None
    board.now_s = at_s
    emitted = [state.id for _ in range(todo.repeat) for state in board.advance(todo, at_s)]
    board.instances["gpu"].busy = False
    return emitted


def progress(state: RequestState) -> tuple[object, ...]:
    return (
        state.known_tokens, state.computed_tokens, state.output_tokens, state.kv_tokens, len(state.blocks),
        state.remembered, state.first_step_s, state.first_token_s, state.last_token_s,
    )  # fmt: skip


@given(repeats=st.lists(st.integers(1, 40), min_size=1, max_size=8), prompt=st.integers(1, 40))
def test_both_ways_come_to_the_same(repeats: list[int], prompt: int) -> None:
    short, long = decoding("a", "b", prompt=prompt), decoding("a", "b", prompt=prompt)
    for count, repeat in enumerate(repeats):
        assert run(short, step(short, "a", "b", repeat=repeat), at_s=count) == ["a", "b"] * repeat
        order = ("a", "b") if count % 2 else ("b", "a")  # never the step before, so the long way
        assert sorted(run(long, step(long, *order, repeat=repeat), at_s=count)) == sorted(["a", "b"] * repeat)
        for name in "ab":
            assert progress(short.requests[name]) == progress(long.requests[name])
    assert short.instances["gpu"].kv.num_free == long.instances["gpu"].kv.num_free


def test_the_same_step_with_more_repeats_takes_memory_for_all_of_them() -> None:
    board = decoding("a")
    run(board, step(board, "a"))
    run(board, step(board, "a"))
    assert board.apply(step(board, "a", repeat=100)) is None
    assert board.requests["a"].kv_tokens >= 20 + 2 + 100


def test_the_same_step_is_refused_without_memory_and_then_changes_nothing() -> None:
    board = decoding("a", "b", prompt=32, num_blocks=6)
    for _ in range(16):
        run(board, step(board, "a", "b"))
    before = board.fingerprint()
    assert board.apply(step(board, "a", "b")) == "there is not enough KV memory"
    assert board.fingerprint() == before


@pytest.mark.parametrize("gone", ["finished", "preempted"])
def test_the_same_step_is_refused_when_one_of_it_has_left(gone: str) -> None:
    board = decoding("a", "b")
    todo = step(board, "a", "b")
    run(board, todo)
    if gone == "finished":
        board.finish("a", "stop", 1.0)
    else:
        assert board.apply(Preempt("a")) is None
    assert board.apply(todo) == "a is not running here"


def test_who_comes_back_is_computed_again_before_it_decodes() -> None:
    board = decoding("a", "b")
    todo = step(board, "a", "b")
    run(board, todo)
    assert board.apply(Preempt("b")) is None
    assert board.apply(Start("b", {"gpu": {"kv_tokens": 40}})) is None
    assert run(board, todo) == ["a"]  # b's piece is one token of many
    assert board.requests["b"].computed_tokens == 1


def test_one_that_ends_amid_repeats_is_passed_over() -> None:
    board = decoding("a", "b")
    todo = step(board, "a", "b", repeat=3)
    run(board, step(board, "a", "b"))
    assert board.apply(todo) is None
    assert [state.id for state in board.advance(todo, 1.0)] == ["a", "b"]
    board.finish("a", "stop", 1.0)
    assert [state.id for state in board.advance(todo, 2.0)] == ["b"]


def test_a_prompt_of_one_token_is_no_decode() -> None:
    board = decoding("a", prompt=1)
    assert board.requests["a"].first_token_s == 1.0
