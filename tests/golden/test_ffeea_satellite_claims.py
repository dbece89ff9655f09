"""What estimating fitness is worth: fewer evaluations for the same plan, a better plan where they are slow."""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "shop/ffeea-satellite"


@functools.cache
def verdict(name: str, seeds: int = 1, quick: bool = True) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, quick) for seed in range(seeds)])


def test_estimates_save_half_of_the_evaluations() -> None:
    found = verdict("generations").measured
    assert 0.3 < found["ffeea"]["real_frac"].mean < 0.7
    assert found["ffeea"]["link_hours"].mean > 0.98 * found["exact"]["link_hours"].mean


@pytest.mark.slow
def test_where_evaluations_are_slow_estimates_give_better_plans() -> None:
    found = verdict("slow-decoder", seeds=4)
    assert [one.name for one in found.directions if not one.holds] == []
    assert 1.002 < found.sizes[0].mean < 1.03


@pytest.mark.slow
def test_in_many_generations_little_is_lost() -> None:
    assert [one.name for one in verdict("generations", 2, quick=False).sizes if not one.agrees] == []


@pytest.mark.slow
def test_plans_are_near_the_bound() -> None:
    found = verdict("bound", 2).measured
    assert 0.9 < found["greedy"]["of_bound_frac"].mean < found["ffeea"]["of_bound_frac"].mean <= 1.0
