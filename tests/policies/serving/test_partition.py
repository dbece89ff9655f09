"""The controller of two shares: when it turns them, which way, and how far."""

from __future__ import annotations

import math

import pytest

from headway.policies.serving.partition import Knobs, Partition, multiple


def partition(prefill: float = 0.5, decode: float = 0.5, window: int = 10, max_steps: int = 10) -> Partition:
    return Partition(prefill, decode, Knobs(window, 0.05, max_steps, 0.9))


def window(of: Partition, ttft: float, tpot_s: float, at_s: float = 1.0, bound_s: float = 0.1) -> bool:
    """One window in which every request had this time to its first token (as a multiple) and these iterations."""
    for _ in range(5):
        of.note_first_token(ttft)
        of.note_prefill(0.01)
    of.note_decode(5 * tpot_s, 5)
    return of.look(at_s, lambda: [bound_s, math.inf, 3 * bound_s])


def test_nothing_happens_within_a_window() -> None:
    one = partition(window=11)
    assert not window(one, 5.0, 0.01)
    assert (one.prefill, one.decode) == (0.5, 0.5)
    assert not window(partition(window=0), 5.0, 0.01)


@pytest.mark.parametrize(("ttft", "tpot_s"), [(0.5, 0.05), (2.0, 0.2)])
def test_with_both_within_bounds_or_neither_shares_stay(ttft: float, tpot_s: float) -> None:
    one = partition()
    assert window(one, ttft, tpot_s)
    assert (one.prefill, one.decode) == (0.5, 0.5)


def test_the_late_worker_gets_as_much_as_its_law_asks_for() -> None:
    one = partition()
    assert window(one, 1.2, 0.01)
    assert one.decode == 0.5
    assert one.prefill > 0.5
    assert one.ttft is not None
    assert one.ttft.at(one.prefill_part) <= 1
    step_before = (one.prefill - 0.05) / (one.prefill - 0.05 + one.decode)
    assert one.ttft.at(step_before) > 1


def test_no_look_takes_more_steps_than_it_may() -> None:
    one = partition(max_steps=3)
    window(one, 0.1, 10.0)
    assert (one.prefill, one.decode) == (0.5, pytest.approx(0.65))


def test_a_whole_share_grows_at_the_cost_of_the_other() -> None:
    one = partition(1.0, 1.0, max_steps=4)
    window(one, 50.0, 0.01)
    assert (one.prefill, one.decode) == (1.0, pytest.approx(0.8))
    for _ in range(10):
        window(one, 50.0, 0.01)
    assert one.decode == pytest.approx(0.05)  # never nothing


def test_bounds_are_those_of_the_strictest_requests() -> None:
    one = partition()
    window(one, 0.1, 0.15)  # 1.5 of the smallest bound; nobody else comes near
    assert one.decode > 0.5
    assert one.tpot_samples[-1] == (0.5, pytest.approx(0.15 / 0.1 * 0.8 + 0.15 / 0.3 * 0.2))


def test_without_promises_there_is_nothing_to_do() -> None:
    one = partition()
    one.note_prefill(1.0)
    one.note_decode(100.0, 10)
    assert one.look(1.0, lambda: [math.inf])
    assert (one.prefill, one.decode, one.ttft, one.tpot) == (0.5, 0.5, None, None)
    assert multiple(3.0, math.inf) == 0.0
