"""What a fleet earns that a graph network sends: directions that must hold, on short days and on whole ones."""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "shop/uam-graph-rl"


@functools.cache
def verdict(name: str, num_seeds: int, quick: bool) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, quick) for seed in range(num_seeds)])


def of(found: Verdict, who: str) -> float:
    return found.measured[who]["profit"].mean


def test_the_network_earns_more_than_greed_random_and_a_plan_of_the_day() -> None:
    found = verdict("profit", 1, True)
    assert of(found, "random") < of(found, "greedy") < of(found, "learned")
    assert of(found, "genetic") < of(found, "learned")


def test_it_earns_more_than_greed_in_a_city_it_has_never_seen() -> None:
    found = verdict("larger", 1, True)
    assert of(found, "random") < of(found, "greedy") < of(found, "learned")


@pytest.mark.slow
def test_over_whole_days() -> None:
    """Ours over ten days: 292,000 dollars a day, flows 289,000, greed 198,000, the plan in advance 153,000."""
    found = verdict("profit", 3, False)
    assert [one.name for one in found.directions if not one.holds] == []
    assert 1.3 < of(found, "learned") / of(found, "greedy") < 1.6
    assert 0.95 < of(found, "learned") / of(found, "flow") < 1.05


@pytest.mark.slow
def test_over_whole_days_that_come_as_forecast() -> None:
    """Expected: 1.0 to 1.3 times the genetic algorithm. Ours: 1.29 over ten days."""
    found = verdict("sure", 2, False)
    assert 1.1 < of(found, "learned") / of(found, "genetic") < 1.45


@pytest.mark.slow
def test_a_decision_takes_a_fraction_of_the_genetic_algorithms() -> None:
    found = verdict("time", 2, False)
    assert found.sizes[0].mean > 1000
