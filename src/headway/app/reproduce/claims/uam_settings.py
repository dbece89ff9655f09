"""Days on which fleets are compared, for the claims of shop/uam-graph-rl."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from headway.app.reproduce.claim import Numbers
from headway.core.drivers import simulate
from headway.policies.shop.uam_flow import UamFlow
from headway.policies.shop.uam_genetic import UamGenetic
from headway.policies.shop.uam_graph_rl import UamGraphRl
from headway.policies.shop.uam_rule import UamRule
from headway.sim.shop.uam_small import drawn_city, drawn_day

NUM_CRAFTS = 40


WHO = ("learned", "flow", "greedy", "genetic", "random")


def uncertain(seed: int, quick: bool) -> Numbers:
    """Days of delays, closed routes, repairs and passengers who do not come as forecast."""
    return played(seed, quick, WHO)


def sure(seed: int, quick: bool) -> Numbers:
    """Days that come as forecast."""
    return played(seed, quick, WHO, is_sure=True)


def deciding(seed: int, quick: bool) -> Numbers:
    """The first, by those whose decisions are to be timed."""
    return played(seed, quick, ("learned", "genetic"))


def larger(seed: int, quick: bool) -> Numbers:
    """Another city, half as large again, with half as many aircraft again: nothing of it was ever trained on."""
    city = drawn_city(11, num_vertiports=12, passengers_per_h=600.0, hours=2.0 if quick else 12.0)
    found = {}
    for name in ("learned", "greedy", "random"):
        world = drawn_day(city, 60, seed)
        simulate(world, _policy(name, quick), seed=seed)
        found[name] = world.numbers()
    return found


def played(seed: int, quick: bool, names: Iterable[str], *, is_sure: bool = False) -> Numbers:
    """Play the same day by each of them; a quick one is three hours long."""
    found, city = {}, drawn_city(hours=3.0 if quick else 12.0)
    for name in names:
        world, policy = drawn_day(city, NUM_CRAFTS, seed, is_sure=is_sure), _policy(name, quick)
        report = simulate(world, policy, seed=seed)
        numbers = {"decide_s": report.decide_s["mean"], "slowest_decide_s": report.decide_s["max"]}
        found[name] = {**world.numbers(), **numbers}
    return found


def _policy(name: str, quick: bool) -> Any:
    made: dict[str, Callable[[], Any]] = {
        "learned": UamGraphRl,
        "flow": UamFlow,
        "greedy": lambda: UamRule(rule="greedy"),
        "genetic": lambda: UamGenetic(num_generations=30 if quick else 300),
        "random": lambda: UamRule(rule="random"),
    }
    return made[name]()
