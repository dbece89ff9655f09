"""What a learned transfer robot reaches, against sequences that are optimal where a chamber is the limit."""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "shop/glass-flow-robots"


@functools.cache
def verdict(name: str, num_seeds: int, quick: bool) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, quick) for seed in range(num_seeds)])


def test_the_network_is_above_first_come_first_served_and_near_the_best_cycle() -> None:
    found = verdict("feasible", 2, True)
    assert [one.name for one in found.directions if not one.holds] == []
    assert found.sizes[0].mean > 0.96


def test_two_hands_pay_where_the_robot_is_the_limit() -> None:
    found = verdict("hands", 2, True)
    transport, process = found.sizes[0].mean, found.sizes[1].mean
    assert transport > 1.1
    assert process < transport


def test_sequences_reach_the_bound_where_a_chamber_is_the_limit() -> None:
    measured = verdict("feasible", 2, True).measured["sequence"]
    for hands in ("one_hand", "two_hands"):
        assert measured[f"{hands}_process_frac"].mean == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
def test_over_ten_seeds() -> None:
    found = verdict("feasible", 10, False)
    assert all(one.sure for one in found.directions)
    assert 0.95 < found.sizes[0].mean <= 1.0
