"""Quantum networks: what several resources, fidelity and preemption are worth."""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "shop/quantum-qos"


@functools.cache
def verdict(name: str, num_seeds: int, quick: bool) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, quick) for seed in range(num_seeds)])


def test_the_gain_grows_with_paths_that_have_nothing_in_common() -> None:
    found = verdict("paths", 3, True)
    assert [one.name for one in found.directions if not one.holds] == []
    assert [one.name for one in found.sizes if not one.agrees] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resources", "paths", "fidelity"])
def test_directions_hold_over_ten_sets_of_demands(name: str) -> None:
    assert [one.name for one in verdict(name, 10, False).directions if not one.holds] == []


@pytest.mark.slow
def test_preemption_delivers_more_and_its_claimed_price_is_not_seen_here() -> None:
    """Claimed: more pairs, more jitter, longer responses. Here: 10% more, and the same demands are served sooner."""
    found = {one.name: one for one in verdict("preemption", 10, False).directions}
    (more,) = [one for name, one in found.items() if "response" not in name and "jitter" not in name]
    (response,) = [one for name, one in found.items() if "response" in name]
    assert more.holds
    assert response.num_held < response.num / 2
