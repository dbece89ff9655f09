"""Orca, rule by rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.policies.serving.orca import Orca
from policies.serving.making import OneInstance


def test_requests_join_and_leave_between_iterations() -> None:
    one = OneInstance(Orca())
    one.arrive("a", prompt=20, most=2)
    assert one.turn() == [("a", 20)]
    one.arrive("b", prompt=300)
    assert one.turn() == [("a", 1), ("b", 300)]  # a whole prompt beside a decode
    assert one.turn() == [("b", 1)]


def test_memory_for_all_a_request_may_need_is_reserved_when_it_starts() -> None:
    one = OneInstance(Orca(), num_blocks=20)
    one.arrive("a", "b", prompt=16, most=144)
    assert one.turn() == [("a", 16), ("b", 16)]
    assert one.instance.kv.num_free == 0
    one.arrive("c", prompt=16, most=16)
    assert one.turn() == [("a", 1), ("b", 1)]
    assert one.waiting == ["c"]


def test_nobody_overtakes_the_head_of_the_queue() -> None:
    one = OneInstance(Orca(), num_blocks=10)
    one.arrive("a", prompt=80, most=16)
    one.arrive("b", prompt=80, most=16)
    one.arrive("c", prompt=8, most=8)
    assert one.turn() == [("a", 80)]
    assert one.waiting == ["b", "c"]


def test_the_batch_is_limited() -> None:
    one = OneInstance(Orca(max_batch_size=2))
    one.arrive("a", "b", "c", prompt=10)
    assert one.turn() == [("a", 10), ("b", 10)]
    assert one.turn() == [("a", 1), ("b", 1)]


def test_a_cached_prefix_is_not_computed_again() -> None:
    one = OneInstance(Orca())
    one.arrive("a", prompt=40, most=1, hashes=(1, 2))
    one.turn()
    one.arrive("b", prompt=40, hashes=(1, 2))
    assert one.turn() == [("b", 8)]


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"serving/orca: max_batch_size must be >= 1, got 0\. Try 32"):
        Orca(max_batch_size=0)


@given(st.lists(st.tuples(st.integers(1, 120), st.integers(1, 40)), min_size=1, max_size=12), st.integers(1, 5))
def test_nobody_is_preempted_and_all_that_run_advance(lengths: list[tuple[int, int]], most: int) -> None:
    one = OneInstance(Orca(max_batch_size=most), num_blocks=12)
    for i, (prompt, output) in enumerate(lengths):
        one.arrive(f"r{i}", prompt=prompt, most=output)
    started: list[str] = []
    while one.board.requests:
        before = list(one.running)
        pieces = one.turn()
        assert not one.preempted
        assert 1 <= len(pieces) <= most
        assert [name for name, _ in pieces[: len(before)]] == before
        started += [name for name, _ in pieces[len(before) :]]
    assert started == [f"r{i}" for i in range(len(lengths))]
