from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.actions import Move, Set
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.jobs import TUNE_BLOCKS, JobState
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Microbatch, Step, TuneJob, TuneUnit
from headway.policies.serving.state import InstanceState

PLAN = (Microbatch(64), Microbatch(32, updates=True), Microbatch(16, trains=False))


def a_job(name: str = "j", kv_blocks: int = 4, num_layers: int = 3) -> TuneJob:
    return TuneJob(id=name, arrival_s=0.0, num_layers=num_layers, microbatches=PLAN, kv_blocks=kv_blocks)


def a_board(can: frozenset[str] = frozenset({"tune", "lanes"})) -> ServingBoard:
    return ServingBoard([InstanceState("i", BlockPool(10), num_layers=3), InstanceState("k", BlockPool(10), 3)], can)


def placed(board: ServingBoard, blocks: int = 4) -> JobState:
    state = board.tuning.add(a_job())
    assert board.apply(Move("j", "i")) is None
    assert board.apply(Set(TUNE_BLOCKS, blocks, of="i")) is None
    return state


def run(board: ServingBoard, unit: TuneUnit) -> str | None:
    step = Step(instance="i", pieces=(), tune=(unit,))
    why = board.apply(step)
    if why is None:
        assert board.instances["i"].busy
        board.end(step)
    return why


@given(st.lists(st.integers(1, 5), min_size=40, max_size=40), st.lists(st.integers(0, 39), max_size=6))
def test_however_it_is_cut_and_dropped_a_job_is_computed_once_from_end_to_end(
    cuts: list[int], drops: list[int]
) -> None:
    board = a_board()
    state, done = placed(board), list[TuneUnit]()
    for number, cut in enumerate(cuts):
        if number in drops:
            assert board.apply(Set(TUNE_BLOCKS, 1, of="i")) is None
            assert board.apply(Set(TUNE_BLOCKS, 4, of="i")) is None
            if state.is_between and state.phase == "forward":
                done = [unit for unit in done if unit.microbatch != state.microbatch]
        unit = state.next_unit(cut)
        if unit is None:
            break
        assert run(board, unit) is None
        done.append(unit)
    assert state.is_done
    layers = [
        (unit.microbatch, unit.phase, layer)
        for unit in done
        for layer in (range(*unit.layers) if unit.phase == "forward" else reversed(range(*unit.layers)))
    ]
    once = [(m, "forward", n) for m in (0,) for n in (0, 1, 2)] + [(0, "backward", n) for n in (2, 1, 0)]
    once += [(1, "forward", n) for n in (0, 1, 2)] + [(1, "backward", n) for n in (2, 1, 0)]
    once += [(1, "update", n) for n in (2, 1, 0)] + [(2, "forward", n) for n in (0, 1, 2)]
    assert layers == once
    assert state.trained_tokens == 96


def test_memory_is_lent_and_given_back() -> None:
    board = a_board()
    state, kv = placed(board), board.instances["i"].kv
    assert kv.num_free == 6
    assert board.apply(Set(TUNE_BLOCKS, 11, of="i")) == "there is not enough KV memory"
    first = state.next_unit(2)
    assert first is not None
    assert run(board, first) is None
    assert state.layer == 2
    assert board.apply(Set(TUNE_BLOCKS, 3, of="i")) is None
    assert (state.layer, state.num_dropped, kv.num_free) == (0, 1, 7)
    assert run(board, first) == "it needs 4 blocks, 3 are lent"
    assert board.tuning.finish("j", "done", 1.0).trained_tokens == 0
    assert kv.num_free == 10
    assert not board.jobs


@pytest.mark.parametrize(
    "unit",
    [
        TuneUnit("j", 1, (0, 1), "forward"), TuneUnit("j", 0, (1, 2), "forward"), TuneUnit("j", 0, (0, 3), "backward"),
        TuneUnit("j", 0, (0, 0), "forward"), TuneUnit("j", 0, (0, 3), "update"),
        TuneUnit("other", 0, (0, 1), "forward"),
    ],
)  # fmt: skip
def test_units_out_of_order_are_refused_and_change_nothing(unit: TuneUnit) -> None:
    board = a_board()
    placed(board)
    before = board.fingerprint()
    assert run(board, unit) is not None
    assert board.fingerprint() == before


def test_what_cannot_be_is_refused() -> None:
    board = a_board()
    state = placed(board)
    unit = state.next_unit()
    assert unit is not None
    assert board.apply(Step(instance="i", pieces=(), tune=(unit,), repeat=2)) is not None
    assert board.apply(Set("num_lanes", 2, of="i")) == "a job is trained there"
    assert board.apply(Set(TUNE_BLOCKS, 1, of="k")) == "no job is trained there"
    assert board.apply(Set(TUNE_BLOCKS, 1.5, of="i")) is not None
    assert board.apply(Move("j", "nowhere")) is not None
    step = Step(instance="i", pieces=(), tune=(unit,))
    assert board.apply(step) is None
    assert board.apply(Set(TUNE_BLOCKS, 0, of="i")) == "a unit is under way"
    assert board.apply(Move("j", "k")) == "a microbatch of it is under way"
    board.end(step)
    unable = a_board(frozenset())
    unable.tuning.add(a_job())
    assert unable.apply(Move("j", "i")) == "this executor cannot tune"


def test_one_microbatch_is_under_way_at_an_instance() -> None:
    board = a_board()
    placed(board)
    other = board.tuning.add(a_job("other"))
    assert board.apply(Move("other", "i")) is None
    assert run(board, TuneUnit("j", 0, (0, 1), "forward")) is None
    unit = other.next_unit()
    assert unit is not None
    assert run(board, unit) == "a microbatch of another job is under way"


def test_an_instance_that_fails_leaves_its_job_to_be_placed_again() -> None:
    board = a_board()
    state = placed(board)
    assert run(board, TuneUnit("j", 0, (0, 3), "forward")) is None
    board.fail("i")
    assert (state.instance, state.microbatch, state.phase) == ("", 0, "forward")
    assert board.apply(Move("j", "k")) is None
