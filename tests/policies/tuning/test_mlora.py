"""mLoRA's turns."""

from __future__ import annotations

import pytest

from headway.core.errors import ConfigError
from headway.core.events import Woke
from headway.policies.tuning.lorafusion_board import PipelineBoard
from headway.policies.tuning.lorafusion_nouns import AdapterJob, Enter
from headway.policies.tuning.mlora import Mlora


def turns(board: PipelineBoard, policy: Mlora, num: int) -> list[tuple[str, int, tuple[int, ...]]]:
    found = []
    for _ in range(num):
        for action in policy.decide(Woke(at_s=0.0), board):
            assert isinstance(action, Enter)
            assert board.apply(action) is None
            (part,) = action.mix.parts
            found.append((part.job, part.batch, part.samples))
    return found


def test_adapters_take_turns_and_who_awaits_its_step_is_passed_over() -> None:
    board, policy = PipelineBoard(4, 100, 1), Mlora()
    board.add(AdapterJob(id="a", arrival_s=0.0, lengths=((10,), (10,))))
    board.add(AdapterJob(id="b", arrival_s=0.0, lengths=((10, 20, 30),)))
    assert turns(board, policy, 3) == [("a", 0, (0,)), ("b", 0, (0,)), ("b", 0, (1,))]
    board.leave()  # of the first: now it steps
    assert turns(board, policy, 3) == [("a", 1, (0,)), ("b", 0, (2,))]


def test_several_examples_enter_together_as_far_as_they_fit() -> None:
    board = PipelineBoard(4, 40, 1)
    board.add(AdapterJob(id="a", arrival_s=0.0, lengths=((10, 20, 30, 5),)))
    assert turns(board, Mlora(samples=0), 2) == [("a", 0, (0, 1)), ("a", 0, (2, 3))]


def test_a_negative_number_of_examples_is_an_error() -> None:
    with pytest.raises(ConfigError, match="tuning/mlora: samples must be >= 0, got -1"):
        Mlora(samples=-1)
