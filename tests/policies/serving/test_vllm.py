"""vLLM's first scheduler, rule by rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.policies.serving.vllm import Vllm
from policies.serving.making import OneInstance


def test_prompts_run_whole_and_stop_all_decodes() -> None:
    one = OneInstance(Vllm())
    one.arrive("a", prompt=20)
    assert one.turn() == [("a", 20)]
    one.arrive("b", "c", prompt=300)
    assert one.turn() == [("b", 300), ("c", 300)]
    assert one.turn() == [("a", 1), ("b", 1), ("c", 1)]


def test_prompts_of_one_step_stay_within_max_batched_tokens() -> None:
    one = OneInstance(Vllm(max_batched_tokens=100))
    one.arrive("a", "b", "c", prompt=40)
    assert one.turn() == [("a", 40), ("b", 40)]
    assert one.turn() == [("c", 40)]


def test_a_prompt_above_max_batched_tokens_runs_alone() -> None:
    one = OneInstance(Vllm(max_batched_tokens=100))
    one.arrive("a", prompt=300)
    one.arrive("b", prompt=20)
    assert one.turn() == [("a", 300)]
    one.arrive("c", prompt=300)
    assert one.turn() == [("b", 20)]
    assert one.turn() == [("c", 300)]


def test_no_more_than_max_seqs_run() -> None:
    one = OneInstance(Vllm(max_seqs=2))
    one.arrive("a", "b", "c", prompt=20)
    assert one.turn() == [("a", 20), ("b", 20)]
    assert one.turn() == [("a", 1), ("b", 1)]


def test_admission_leaves_the_watermark_free_but_an_idle_instance_takes_anything() -> None:
    one = OneInstance(Vllm(watermark_frac=0.2), num_blocks=10)
    one.arrive("a", prompt=150, most=5)
    assert one.turn() == [("a", 150)]
    two = OneInstance(Vllm(watermark_frac=0.2), num_blocks=10)
    two.arrive("a", "b", "c", prompt=48, most=5)
    assert two.turn() == [("a", 48), ("b", 48)]
    assert two.turn() == [("a", 1), ("b", 1)]


def test_the_latest_is_preempted_waits_in_front_and_is_computed_again() -> None:
    one = OneInstance(Vllm(watermark_frac=0.0), num_blocks=4)
    one.arrive("a", "b", prompt=31, most=20)
    one.turn()
    one.turn()
    one.arrive("c", prompt=100)
    assert one.turn() == [("a", 1)]
    assert one.preempted == ["b"]
    assert one.waiting == ["b", "c"]
    pieces = one.turn()
    while ("b", 33) not in pieces:
        assert pieces == [("a", 1)]
        pieces = one.turn()
    assert pieces == [("b", 33)]


def test_the_last_one_preempts_itself() -> None:
    one = OneInstance(Vllm(watermark_frac=0.0), num_blocks=4)
    one.arrive("a", prompt=32, most=20)
    one.turn()
    one.instance.kv.pin("someone", one.instance.kv.allocate(2))
    assert one.turn() == []
    assert (one.preempted, one.waiting) == (["a"], ["a"])


def test_a_cached_prefix_is_not_computed_again_nor_counted() -> None:
    one = OneInstance(Vllm(max_batched_tokens=40))
    one.arrive("a", prompt=40, most=1, hashes=(1, 2))
    one.turn()
    one.arrive("b", prompt=40, hashes=(1, 2))
    one.arrive("c", prompt=40, hashes=(1, 3))
    one.arrive("d", prompt=9)
    assert one.turn() == [("b", 8), ("c", 24)]
    assert one.turn() == [("d", 9)]


def test_a_prefix_that_vanished_before_the_start_is_computed_later() -> None:
    one = OneInstance(Vllm(watermark_frac=0.0), num_blocks=6)
    one.arrive("a", prompt=33, most=1, hashes=(1, 2))
    one.turn()
    one.arrive("b", prompt=5 * 16, most=1)  # takes the memory of the prefix that c is promised
    one.arrive("c", prompt=16, most=2, hashes=(1,))
    one.arrive("d", prompt=33, most=2, hashes=(1, 2))
    while one.board.requests:
        assert one.turn()
    assert one.instance.kv.num_free == 6


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"max_batched_tokens": 0}, "max_batched_tokens must be >= 1, got 0"),
        ({"max_seqs": 0}, "max_seqs must be >= 1, got 0"),
        ({"watermark_frac": -0.1}, r"watermark_frac must be in \[0, 1\), got -0.1"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=f"serving/vllm: {said}"):
        Vllm(**parameters)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(1, 120), st.integers(1, 40)), min_size=1, max_size=12), st.integers(1, 150))
def test_a_step_is_of_prompts_or_of_all_decodes(lengths: list[tuple[int, int]], budget: int) -> None:
    one = OneInstance(Vllm(max_batched_tokens=budget), num_blocks=12)
    for i, (prompt, most) in enumerate(lengths):
        one.arrive(f"r{i}", prompt=prompt, most=most)
    num_turns = 0
    while one.board.requests:
        before = set(one.running)
        fresh = {name: state.known_tokens for name, state in one.instance.waiting.items()}
        pieces = one.turn()
        num_turns += 1
        assert pieces
        assert num_turns < 5000
        if pieces[0][0] in fresh:
            assert all(tokens == fresh[name] for name, tokens in pieces)
            assert len(pieces) == 1 or sum(tokens for _, tokens in pieces) <= budget
        else:
            assert {name for name, _ in pieces} == before - set(one.preempted)
            assert all(tokens == 1 for _, tokens in pieces)
