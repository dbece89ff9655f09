"""The scheduler of vLLM's V1 engine, rule by rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import UNTIL_NEWS
from headway.policies.serving.vllm_v1 import VllmV1
from policies.serving.making import OneInstance


def policy(budget: int = 8192, max_seqs: int = 4, *, whole_prompts: bool = True) -> VllmV1:
    return VllmV1(max_batched_tokens=budget, max_seqs=max_seqs, whole_prompts=whole_prompts)


def test_one_budget_serves_decodes_then_the_prompt_under_way_then_the_queue() -> None:
    one = OneInstance(policy(100))
    one.arrive("a", prompt=20)
    assert one.turn() == [("a", 20)]
    one.arrive("b", prompt=150)
    one.arrive("c", prompt=60)
    assert one.turn() == [("a", 1), ("b", 99)]
    assert one.turn() == [("a", 1), ("b", 51), ("c", 48)]
    assert one.turn() == [("a", 1), ("b", 1), ("c", 12)]
    assert one.turn() == [("a", 1), ("b", 1), ("c", 1)]


def test_a_chunk_takes_memory_for_itself_alone() -> None:
    one = OneInstance(policy(64), num_blocks=20)
    one.arrive("a", prompt=160)
    one.turn()
    assert one.state("a").kv_tokens == 64
    one.turn()
    assert one.state("a").kv_tokens == 128


def test_a_prompt_waits_for_memory_for_all_of_it_unless_told_otherwise() -> None:
    waiting = OneInstance(policy(64), num_blocks=10)
    waiting.arrive("a", prompt=64)
    waiting.arrive("b", prompt=112)
    waiting.turn()
    assert waiting.turn() == [("a", 1)]
    assert waiting.waiting == ["b"]
    eager = OneInstance(policy(64, whole_prompts=False), num_blocks=10)
    eager.arrive("a", prompt=64)
    eager.arrive("b", prompt=112)
    eager.turn()
    assert eager.turn() == [("a", 1), ("b", 63)]


def test_no_memory_is_kept_free() -> None:
    one = OneInstance(policy(), num_blocks=10)
    one.arrive("a", prompt=48, most=1)
    one.arrive("b", prompt=112, most=1)
    assert one.turn() == [("a", 48), ("b", 112)]


def test_no_more_than_max_seqs_run() -> None:
    one = OneInstance(policy(max_seqs=2))
    one.arrive("a", "b", "c", prompt=20)
    assert one.turn() == [("a", 20), ("b", 20)]
    assert one.turn() == [("a", 1), ("b", 1)]


def test_the_latest_is_preempted_waits_in_front_and_nobody_is_admitted_beside() -> None:
    one = OneInstance(policy(), num_blocks=6)
    one.arrive("a", "b", prompt=47, most=40)
    one.turn()
    one.turn()
    one.arrive("c", prompt=16)
    assert one.turn() == [("a", 1)]
    assert one.preempted == ["b"]
    assert one.waiting == ["b", "c"]
    while "b" not in one.running:
        pieces = one.turn()
    assert ("b", 49) in pieces  # its prompt and the two tokens that it had been given


def test_a_prompt_under_way_that_finds_no_memory_is_preempted_itself() -> None:
    one = OneInstance(policy(64, whole_prompts=False), num_blocks=8)
    one.arrive("a", prompt=48, most=30)
    one.turn()
    one.arrive("b", prompt=110, most=2)
    assert one.turn() == [("a", 1), ("b", 63)]
    assert one.turn() == [("a", 1)]
    assert one.preempted == ["b"]
    while one.board.requests:
        assert one.turn()


def test_a_prefix_that_vanished_before_the_start_is_computed_later() -> None:
    one = OneInstance(policy(), num_blocks=6)
    one.arrive("a", prompt=33, most=1, hashes=(1, 2))
    one.turn()
    one.arrive("b", prompt=5 * 16, most=1)  # takes the memory of the prefix that c is promised
    one.arrive("c", prompt=16, most=2, hashes=(1,))
    one.arrive("d", prompt=33, most=2, hashes=(1, 2))
    while one.board.requests:
        assert one.turn()
    assert one.instance.kv.num_free == 6


def test_a_cached_prefix_is_not_computed_again_nor_counted() -> None:
    one = OneInstance(policy(40))
    one.arrive("a", prompt=40, most=1, hashes=(1, 2))
    one.turn()
    one.arrive("b", prompt=40, hashes=(1, 2))
    one.arrive("c", prompt=40, hashes=(1, 3))
    one.arrive("d", prompt=9)
    assert one.turn() == [("b", 8), ("c", 24), ("d", 8)]
    assert one.turn() == [("b", 1), ("c", 1), ("d", 1)]


def test_a_steady_step_goes_on_until_there_is_news() -> None:
    one = OneInstance(policy())
    one.arrive("a", "b", prompt=20)
    one.turn()
    step = policy().form(one.instance, InstanceDraft(one.instance), one.board.now_s)
    assert step is not None
    assert step.repeat == UNTIL_NEWS
    assert step.pieces is one.instance.decodes.pieces


def test_ahead_a_request_starts_with_the_step_after_the_one_that_was_decided_on_before_it_came() -> None:
    one = OneInstance(VllmV1(ahead=True))
    one.arrive("a", prompt=20)
    assert one.turn() == [("a", 20)]  # at once, for nothing runs
    one.arrive("b", prompt=20)  # the next step was decided on when this one began
    step = VllmV1(ahead=False).form(one.instance, InstanceDraft(one.instance), one.board.now_s)
    assert step is not None
    assert len(step.pieces) == 2
    assert one.turn() == [("a", 1)]
    assert one.turn() == [("a", 1), ("b", 20)]


def test_ahead_a_step_beside_which_somebody_waits_to_be_known_is_not_repeated() -> None:
    seat = VllmV1(ahead=True)
    one = OneInstance(seat)
    one.arrive("a", prompt=20)
    one.turn()
    one.arrive("b", prompt=20)
    step = seat.form(one.instance, InstanceDraft(one.instance), one.board.now_s)
    assert step is not None
    assert (len(step.pieces), step.repeat) == (1, 1)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"max_seqs": 0}, "max_seqs must be >= 1, got 0"),
        ({"max_batched_tokens": 100}, "max_batched_tokens must be >= max_seqs = 256, .* got 100"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=f"serving/vllm-v1: {said}"):
        VllmV1(**parameters)  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.integers(1, 120), st.integers(1, 40)), min_size=1, max_size=12),
    st.integers(4, 150),
    st.booleans(),
)
def test_every_step_keeps_to_the_budget_and_skips_no_decode(
    lengths: list[tuple[int, int]], budget: int, whole_prompts: bool
) -> None:
    one = OneInstance(policy(budget, whole_prompts=whole_prompts), num_blocks=12)
    for i, (prompt, most) in enumerate(lengths):
        one.arrive(f"r{i}", prompt=prompt, most=most)
    num_turns = 0
    while one.board.requests:
        decoding = set(one.instance.decodes.members)
        pieces = one.turn()
        num_turns += 1
        assert pieces or one.preempted
        assert num_turns < 5000
        assert sum(tokens for _, tokens in pieces) <= budget
        assert decoding - set(one.preempted) <= {name for name, _ in pieces}
        assert len(one.running) <= 4
