"""Plans of a whole day: the compiled forecast is the world itself on a day that comes as forecast."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Finished
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.shop.uam_genetic import UamGenetic
from headway.policies.shop.uam_nouns import Fly
from headway.policies.shop.uam_rule import UamRule
from headway.sim.shop.uam_small import drawn_city, drawn_day
from headway.sim.shop.uam_world import FleetWorld


def day(seed: int, *, is_sure: bool = True) -> FleetWorld:
    city = drawn_city(
        seed % 7, num_vertiports=4, hours=2.0, passengers_per_h=90.0, num_pads=4, num_chargers=1 + seed % 3
    )
    return drawn_day(city, 9, seed, is_sure=is_sure)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from([0, 5]))
@example(6898053, 0)  # two aircraft come to a decision at one moment
def test_a_plan_earns_what_it_expected_when_the_day_comes_as_forecast(seed: int, num_generations: int) -> None:
    world, policy = day(seed), UamGenetic(num_plans=10, num_generations=num_generations, change_frac=0.01)
    report = simulate(world, policy, seed=seed)
    assert not report.num_refused
    assert world.view.profit == pytest.approx(policy.expected, abs=1e-6)


def test_the_first_plan_is_greed_and_generations_improve_on_it() -> None:
    profit = {}
    for name, policy in {
        "greedy": UamRule(),
        "first": UamGenetic(num_plans=2, num_generations=0),
        "later": UamGenetic(num_plans=20, num_generations=60, change_frac=0.005),
    }.items():
        world = day(1)
        simulate(world, policy)
        profit[name] = world.view.profit
    assert profit["first"] >= profit["greedy"] - 1e-6
    assert profit["later"] > profit["first"]


def test_a_plan_is_kept_to_whatever_happens() -> None:
    """Two days that are forecast alike are planned alike: first flights are the same, profits are not."""
    city, found = drawn_city(2, num_vertiports=4, hours=1.0, passengers_per_h=90.0), []
    for seed in (1, 2):
        world, policy, trace = drawn_day(city, 6, seed), UamGenetic(num_generations=3), MemoryTrace()
        simulate(world, policy, session=Session(policy, world.view, seed=0, trace=trace))
        first = [action for action in trace.actions if isinstance(action, Fly)][:3]
        found.append((first, world.view.profit, policy.expected))
        assert sum(isinstance(one, Finished) for one in trace.records) == 6
    assert found[0][0] == found[1][0]
    assert found[0][2] == found[1][2]
    assert found[0][1] != found[1][1]


@pytest.mark.parametrize(("name", "value"), [("num_plans", 1), ("num_generations", -1), ("change_frac", 1.5)])
def test_bad_parameters(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be"):
        UamGenetic(**{name: value})  # type: ignore[arg-type]


def test_time_is_spent_once() -> None:
    world = day(3)
    policy = UamGenetic(num_generations=30)
    report = simulate(world, policy)
    assert report.decide_s["max"] > 50 * np.float64(report.decide_s["p50"])
