"""What each action does to the visible state of serving."""

from __future__ import annotations

import math

import pytest

from headway.core.actions import Action, Move, Preempt, Reject, Set, Start
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, Step, TuneUnit
from headway.policies.serving.state import InstanceState
from policies.serving.making import request

ALL = frozenset({"layer_ranges", "repeat"})


def start(id: str, tokens: float, on: str = "gpu") -> Start:
    return Start(id, {on: {"kv_tokens": tokens}})


def step(*pieces: Piece, repeat: int = 1) -> Step:
    return Step(instance="gpu", pieces=pieces, repeat=repeat)


def ready(can: frozenset[str] = ALL, num_blocks: int = 8) -> ServingBoard:
    """A board on which `a` (20 tokens, 2 blocks) runs and `b` waits at the instance."""
    board = ServingBoard([InstanceState("gpu", BlockPool(num_blocks), num_layers=4)], can)
    for name in "ab":
        board.add(request(name, prompt=20, hashes=(1,)))
        assert board.apply(Move(name, "gpu")) is None
    assert board.apply(start("a", 20)) is None
    return board


def run(board: ServingBoard, todo: Step) -> list[str]:
    assert board.apply(todo) is None
    board.now_s += 1.0
    emitted = [state.id for state in board.advance(todo, board.now_s)]
    board.end(todo)
    return emitted


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (Move("a", "gpu"), "this executor cannot migrate"),
        (Move("nobody", "gpu"), "it is not waiting to be routed"),
        (Move("a", "nowhere"), "there is no instance 'nowhere'"),
        (Start("b", {}), "exactly one instance"),
        (Start("b", {"gpu": {}, "gpu2": {}}), "exactly one instance"),
        (start("b", 20, on="nowhere"), "does not wait at 'nowhere'"),
        (start("a", 20), "does not wait at 'gpu'"),
        (start("b", 7 * 16), "not enough KV memory"),
        (start("b", 1e9), "fit into the pool"),
        (start("b", 0), "at least 1 token"),
        (start("b", math.nan), "at least 1 token"),
        (Preempt("b"), "it is not running"),
        (Preempt("nobody"), "it is not running"),
        (Preempt("a", "swap"), "this executor cannot swap"),
        (Reject("a", "no"), "it is not waiting"),
        (Reject("nobody", "no"), "it is not waiting"),
        (Set("frequency", 1.0), "serving does not know Set"),
        (Step(instance="nowhere", pieces=()), "there is no instance 'nowhere'"),
        (step(), "a step must compute something"),
        (step(Piece("b", 1)), "b is not running here"),
        (step(Piece("a", 0)), "a has 20 tokens left, 0 asked for"),
        (step(Piece("a", 21)), "a has 20 tokens left, 21 asked for"),
        (step(Piece("a", 5), Piece("a", 5)), "at most one piece of a request"),
        (step(Piece("a", 5), repeat=2), "only steps of single tokens"),
        (step(Piece("a", 20, (0, 4)), repeat=2), "only steps of single tokens"),
        (step(Piece("a", 20), repeat=0), "repeat must be >= 1"),
        (step(Piece("a", 20), repeat=200), "only steps of single tokens"),
        (step(Piece("a", 5, (1, 2))), "must go on from layer 0"),
        (step(Piece("a", 5, (0, 5))), "must go on from layer 0, got layers 0 to 5"),
        (Step(instance="gpu", pieces=(Piece("a", 1),), share=0.5), "this executor cannot share"),
        (Step(instance="gpu", pieces=(Piece("a", 1),), share=0.0), "this executor cannot share"),
        (Step(instance="gpu", pieces=(Piece("a", 1),), speculate={"a": 2}), "this executor cannot speculate"),
        (Step(instance="gpu", pieces=(), tune=(TuneUnit("j", 0, (0, 1), "forward"),)), "this executor cannot tune"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason_and_changes_nothing(action: Action, why: str) -> None:
    board = ready()
    before = board.fingerprint()
    said = board.apply(action)
    assert said is not None
    assert why in said
    assert board.fingerprint() == before


def test_abilities_are_asked_for_by_name() -> None:
    board = ready(can=frozenset())
    assert board.apply(step(Piece("a", 5, (0, 4)))) == "this executor cannot layer_ranges"
    able = ready(can=frozenset({"share"}))
    assert able.apply(Step(instance="gpu", pieces=(Piece("a", 1),), share=1.5)) is not None
    assert able.apply(Step(instance="gpu", pieces=(Piece("a", 1),), share=0.5)) is None


def test_a_busy_instance_takes_no_step_and_loses_nobody() -> None:
    board = ready()
    assert board.apply(step(Piece("a", 5))) is None
    before = board.fingerprint()
    assert board.apply(step(Piece("a", 5))) == "a step is under way"
    assert board.apply(Preempt("a")) == "a step of its instance is under way"
    assert board.fingerprint() == before


def test_a_request_is_given_a_token_when_all_its_known_tokens_are_computed() -> None:
    board = ready()
    assert run(board, step(Piece("a", 15))) == []
    assert run(board, step(Piece("a", 5))) == ["a"]
    state = board.requests["a"]
    assert (state.known_tokens, state.computed_tokens, state.output_tokens) == (21, 20, 1)
    assert state.decoding
    assert run(board, step(state.one)) == ["a"]


def test_memory_grows_block_by_block_with_the_steps() -> None:
    board = ready()
    run(board, step(Piece("a", 20)))
    for _ in range(12):
        run(board, step(board.requests["a"].one))
    assert len(board.requests["a"].blocks) == 2
    run(board, step(board.requests["a"].one))
    assert len(board.requests["a"].blocks) == 3


def test_growth_of_all_pieces_together_must_fit() -> None:
    board = ready(num_blocks=5)
    assert board.apply(start("b", 20)) is None
    run(board, step(Piece("a", 20), Piece("b", 20)))
    for _ in range(12):
        run(board, step(board.requests["a"].one, board.requests["b"].one))
    before = board.fingerprint()  # one block is free, and both need one
    assert board.apply(step(board.requests["a"].one, board.requests["b"].one)) == "there is not enough KV memory"
    assert board.fingerprint() == before
    assert run(board, step(board.requests["b"].one)) == ["b"]


def test_what_its_sender_felt_is_told_at_the_end() -> None:
    board = ready()
    board.now_s = 2.0
    run(board, step(Piece("a", 20)))
    for _ in range(3):
        run(board, step(board.requests["a"].one))
    done = board.finish("a", "stop", board.now_s)
    assert (done.queue_s, done.ttft_s, done.tpot_s, done.e2e_s) == (2.0, 3.0, 1.0, 6.0)
    assert (done.output_tokens, done.cached_tokens, done.num_preempted) == (4, 0, 0)
    assert "a" not in board.requests
    assert board.instances["gpu"].kv.num_free == 8


def test_one_cancelled_before_anything_happened_has_no_tokens() -> None:
    board = ready()
    done = board.finish("b", "cancelled", 4.0)
    assert (done.output_tokens, done.tpot_s, done.queue_s) == (0, 0.0, 4.0)


def test_a_prefix_is_found_but_never_the_last_token() -> None:
    board = ready()
    run(board, step(Piece("a", 20)))
    assert board.apply(start("b", 20)) is None
    state = board.requests["b"]
    assert (state.computed_tokens, state.cached_tokens) == (16, 16)
    assert state.blocks[0] == board.requests["a"].blocks[0]
    board.add(request("c", prompt=16, hashes=(1,)))
    board.apply(Move("c", "gpu"))
    assert board.apply(start("c", 16)) is None
    assert board.requests["c"].computed_tokens == 0  # its one block holds its last token, which must be computed


def test_preempted_work_starts_over_and_finds_its_own_prefix() -> None:
    board = ready()
    run(board, step(Piece("a", 20)))
    run(board, step(board.requests["a"].one))
    assert board.apply(Preempt("a")) is None
    state = board.requests["a"]
    assert list(board.instances["gpu"].waiting) == ["a", "b"]
    assert (state.blocks, state.computed_tokens, state.known_tokens, state.output_tokens) == ([], 0, 22, 2)
    assert board.apply(start("a", state.known_tokens)) is None
    assert state.left_tokens == 6
    assert state.cached_tokens == 0  # what it found was its own, not a cached prompt
    assert run(board, step(Piece("a", 6))) == ["a"]
    assert state.output_tokens == 3


def test_a_chunk_goes_through_the_layers_in_order_and_unchanged() -> None:
    board = ready()
    assert run(board, step(Piece("a", 20, (0, 1)))) == []
    before = board.fingerprint()
    for piece in (Piece("a", 20, (2, 4)), Piece("a", 10, (1, 4)), Piece("a", 20), Piece("a", 20, (1, 1))):
        assert board.apply(step(piece)) is not None, piece
    assert board.fingerprint() == before
    assert run(board, step(Piece("a", 20, (1, 3)))) == []
    assert run(board, step(Piece("a", 20, (3, 4)))) == ["a"]
    assert run(board, step(board.requests["a"].one)) == ["a"]


def test_preemption_amid_the_layers_starts_the_chunk_over() -> None:
    board = ready()
    run(board, step(Piece("a", 20, (0, 2))))
    board.apply(Preempt("a"))
    assert board.apply(start("a", 20)) is None
    assert run(board, step(Piece("a", 20, (0, 4)))) == ["a"]


def test_a_repeated_step_is_given_memory_as_it_goes_on() -> None:
    board = ready(num_blocks=3)
    run(board, step(Piece("a", 20)))
    repeated = step(board.requests["a"].one, repeat=99)
    assert board.apply(repeated) is None
    assert board.requests["a"].kv_tokens == 32
    for _ in range(27):
        assert [state.id for state in board.advance(repeated, 1.0)] == ["a"]
        assert board.again(repeated)
    assert board.requests["a"].kv_tokens == 48
    board.advance(repeated, 1.0)
    assert not board.again(repeated)


def test_a_step_passes_over_who_has_ended_since() -> None:
    board = ready()
    todo = step(Piece("a", 20))
    assert board.apply(todo) is None
    board.finish("a", "cancelled", 1.0)
    assert board.advance(todo, 1.0) == []


def test_waiting_work_can_be_turned_away_wherever_it_waits() -> None:
    board = ready()
    board.add(request("c"))
    assert board.apply(Reject("c", "full")) is None
    assert board.apply(Reject("b", "full")) is None
    assert set(board.requests) == {"a"}
    assert not board.unrouted
