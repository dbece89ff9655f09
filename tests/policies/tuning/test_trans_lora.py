"""Who generates, filters, labels and trains when, and how many texts are generated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Reject
from headway.core.errors import ConfigError
from headway.core.events import Arrived
from headway.core.nouns import Resource
from headway.policies.tuning.trans_lora import TransLora
from headway.policies.tuning.trans_lora_baselines import OneTransfer, StageByStage
from headway.policies.tuning.trans_lora_board import TransferBoard
from headway.policies.tuning.trans_lora_draws import draws_for, expected_frac
from headway.policies.tuning.trans_lora_nouns import STAGES, Base, Part, Run, Stage, Transfer

OLD = Base(id="old", weights_bytes=10.0, text_bytes=1.0, train_bytes=5.0)
NEW = Base(id="new", weights_bytes=20.0, text_bytes=1.0, train_bytes=5.0)


def board_of(num_devices: int = 1, wanted: int = 10, num: int = 1, memory_bytes: float = 36.0) -> TransferBoard:
    devices = [
        Resource(id=f"d{nth}", kind="gpu", capacity={"memory_bytes": memory_bytes}) for nth in range(num_devices)
    ]
    board = TransferBoard(devices, [OLD, NEW])
    for nth in range(num):
        board.add(Transfer(id=f"t{nth}", arrival_s=0.0, source="old", target="new", wanted=wanted, num_epochs=2))
    return board


def ask(policy: TransLora, board: TransferBoard) -> list[Run]:
    event = Arrived(at_s=0.0, work=Transfer(id="x", arrival_s=0.0, source="old", target="new"))
    actions = policy.decide(event, board)
    assert [board.apply(action) for action in actions] == [None] * len(actions)
    return [action for action in actions if isinstance(action, Run)]


def test_the_stages_follow_each_other_and_only_what_was_kept_goes_on() -> None:
    board, policy = board_of(wanted=10), TransLora(pilot=8)
    assert ask(policy, board) == [Run("d0", "generate", (Part("t0", 8),))]
    board.finish("d0")
    assert ask(policy, board) == [Run("d0", "filter", (Part("t0", 8),))]
    board.finish("d0", (4,))
    assert ask(policy, board) == [Run("d0", "label", (Part("t0", 4),))]  # the device holds the old base already
    board.finish("d0")
    assert ask(policy, board) == [Run("d0", "generate", (Part("t0", 12),))]  # 6 missing, 5 of 10 kept
    board.finish("d0")
    assert ask(policy, board) == [Run("d0", "filter", (Part("t0", 12),))]
    board.finish("d0", (9,))
    assert ask(policy, board) == [Run("d0", "label", (Part("t0", 6),))]  # 13 were kept, 10 are wanted
    board.finish("d0")
    assert ask(policy, board) == [Run("d0", "train", (Part("t0", 2),))]
    assert board.finish("d0") == ["t0"]
    assert not board.transfers
    assert board.ended["t0"].labelled == 10


def test_transfers_of_one_base_share_a_run_up_to_the_memory() -> None:
    board, policy = board_of(num=3, wanted=6), TransLora(pilot=6)
    assert ask(policy, board) == [Run("d0", "generate", (Part("t0", 6), Part("t1", 6), Part("t2", 4)))]


def test_devices_do_not_take_the_same_texts() -> None:
    board, policy = board_of(num_devices=2, wanted=20, num=1), TransLora(pilot=20)
    first, second = ask(policy, board)
    assert first.parts[0].num + second.parts[0].num == 20


def test_a_base_that_does_not_fit_beside_goes_and_its_weights_come() -> None:
    board = board_of(wanted=4)
    ask(TransLora(pilot=4), board)
    device = board.devices["d0"]
    assert (device.resident, device.load_bytes) == (["new"], 20.0)
    board.finish("d0")
    ask(TransLora(pilot=4), board)
    assert (device.resident, device.load_bytes) == (["new", "old"], 10.0)  # 30 of weights and 4 of texts fit into 36
    board.finish("d0", (4,))
    ask(TransLora(pilot=4), board)
    assert (device.resident, device.load_bytes) == (["new", "old"], 0.0)
    small = board_of(wanted=4, memory_bytes=30.0)
    ask(TransLora(pilot=4), small)
    small.finish("d0")
    ask(TransLora(pilot=4), small)
    assert small.devices["d0"].resident == ["old"]


def play(policy: TransLora, board: TransferBoard, kept_frac: float) -> list[Run | Reject]:
    """Answer every run at once, with so large a share of texts kept."""
    policy.reset(np.random.default_rng(0))
    done: list[Run | Reject] = []
    event = Arrived(at_s=0.0, work=Transfer(id="x", arrival_s=0.0, source="old", target="new"))
    while board.transfers:
        assert len(done) < 100_000
        actions = policy.decide(event, board)
        assert actions, "a transfer would wait for ever"
        for action in actions:
            assert board.apply(action) is None
            assert isinstance(action, Run | Reject)
            done.append(action)
        for action in actions:
            if isinstance(action, Run):
                board.finish(action.device, [int(part.num * kept_frac) for part in action.parts])
    return done


def test_out_of_tries_a_transfer_goes_on_with_what_there_is() -> None:
    board = board_of(wanted=10)
    play(TransLora(pilot=10, max_tries=2), board, kept_frac=0.3)
    state = board.ended["t0"]
    assert state.is_done
    assert state.judged == 20
    assert 2 <= state.labelled < 10


def test_out_of_tries_and_with_hardly_anything_it_is_rejected_with_a_reason() -> None:
    board = board_of(wanted=10)
    last = play(TransLora(pilot=10, max_tries=3), board, kept_frac=0.0)[-1]
    assert isinstance(last, Reject)
    assert "kept 0 of 30 texts and 10 are wanted" in last.why
    assert not board.ended["t0"].is_done


@settings(max_examples=40, deadline=None)
@given(
    kept_frac=st.floats(0.05, 1.0),
    wanted=st.integers(1, 60),
    num=st.integers(1, 5),
    num_devices=st.integers(1, 3),
    which=st.sampled_from([TransLora(), TransLora(foresee=False), StageByStage(), OneTransfer()]),
)
def test_every_transfer_ends_and_nothing_illegal_is_asked_for(
    kept_frac: float, wanted: int, num: int, num_devices: int, which: TransLora
) -> None:
    board = board_of(num_devices, wanted, num)
    play(which, board, kept_frac)
    assert len(board.ended) == num
    for state in board.ended.values():
        assert state.judged <= state.drawn <= which.max_tries * wanted
        assert state.labelled == min(state.accepted, wanted) or not state.is_done


def test_one_transfer_stays_with_a_device_and_shares_nothing() -> None:
    board, policy = board_of(num_devices=2, num=3, wanted=5), OneTransfer()
    runs = [action for action in play(policy, board, 0.5) if isinstance(action, Run)]
    assert all(len(run.parts) == 1 for run in runs)
    owners = {run.parts[0].transfer: set() for run in runs}
    for run in runs:
        owners[run.parts[0].transfer].add(run.device)
    assert all(len(devices) == 1 for devices in owners.values())


def test_stage_by_stage_does_one_stage_at_a_time() -> None:
    board, policy = board_of(num_devices=2, num=3, wanted=5), StageByStage()
    event = Arrived(at_s=0.0, work=Transfer(id="x", arrival_s=0.0, source="old", target="new"))
    policy.reset(np.random.default_rng(0))
    while board.transfers:
        actions = [action for action in policy.decide(event, board) if isinstance(action, Run)]
        assert len({action.stage for action in actions}) == 1
        for action in actions:
            assert board.apply(action) is None
        for action in actions:
            board.finish(action.device, [part.num for part in action.parts])


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (Run("d9", "generate", (Part("t0", 1),)), "no such device"),
        (Run("d0", "generate", ()), "parts must be transfers"),
        (Run("d0", "generate", (Part("t0", 1), Part("t0", 1))), "each once"),
        (Run("d0", "generate", (Part("t0", 99),)), "does not fit into memory"),
        (Run("d0", "filter", (Part("t0", 1),)), "not so much ready"),
        (Run("d0", "generate", (Part("t0", 0),)), "not so much ready"),
        (Run("d0", "train", (Part("t0", 1),)), "not so much ready"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(run: Run, why: str) -> None:
    board = board_of()
    before = board.fingerprint()
    assert why in (board.apply(run) or "")
    assert board.fingerprint() == before


def test_parts_of_several_bases_are_refused() -> None:
    board = board_of()
    board.add(Transfer(id="back", arrival_s=0.0, source="new", target="old"))
    assert board.apply(Run("d0", "generate", (Part("t0", 1), Part("back", 1)))) == "its parts must share a base"


def test_a_transfer_in_a_run_cannot_be_rejected() -> None:
    board = board_of()
    ask(TransLora(), board)
    assert board.apply(Reject("t0", "x")) == "a run of it is under way"
    assert board.apply(Reject("t9", "x")) == "there is no such transfer"


@given(missing=st.integers(1, 2000), frac=st.floats(0.01, 1.0))
def test_draws_bring_what_is_missing_and_hardly_more(missing: int, frac: float) -> None:
    num = draws_for(missing, frac)
    assert num * frac >= missing - 1e-6
    assert (num - 1) * frac < missing


def test_a_share_is_guessed_before_anything_was_judged() -> None:
    assert expected_frac(0, 0) == 0.5
    assert 0 < expected_frac(0, 1000) < 0.001


@pytest.mark.parametrize("params", [{"pilot": 0}, {"max_tries": 0}, {"least_frac": 0.0}])
def test_parameters_out_of_range_are_named(params: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"tuning/trans-lora: {next(iter(params))}"):
        TransLora(**params)  # type: ignore[arg-type]


def test_stages_are_four() -> None:
    stages: tuple[Stage, ...] = ("generate", "filter", "label", "train")
    assert stages == STAGES
