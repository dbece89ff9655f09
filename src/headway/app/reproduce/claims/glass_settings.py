"""Cells in which transfer robots are compared, for the claims of shop/glass-flow-robots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.core.drivers import simulate
from headway.policies.shop.glass_bound import cycle_bound_s
from headway.policies.shop.glass_flow_robots import GlassFlowRobots
from headway.policies.shop.glass_nouns import Cell
from headway.policies.shop.glass_rule import GlassRule
from headway.sim.shop.glass_small import Region, drawn_cell, drawn_world

REGIONS: tuple[Region, ...] = ("transport", "between", "process")
NUM_STAGES = 4
POLICIES: dict[str, Callable[[], Any]] = {
    "learned": GlassFlowRobots,
    "sequence": lambda: GlassRule(rule="swap"),
    "fifo": lambda: GlassRule(rule="fifo"),
}


def of_bound(seed: int, quick: bool) -> Numbers:
    """Throughput as a share of what no schedule exceeds, over robots and regions, without noise."""
    found: dict[str, dict[str, float]] = {name: {} for name in (*POLICIES, "best-cycle")}
    for hands, region in ((hands, region) for hands in (1, 2) for region in REGIONS):
        metric = f"{_word(hands)}_{region}_frac"
        cells = list(_cells(seed, quick, hands, region))
        for name, policy in POLICIES.items():
            found[name][metric] = float(np.mean([_frac(cell, policy(), seed, quick) for cell in cells]))
        found["best-cycle"][metric] = float(np.mean([_best_cycle(cell, seed, quick) for cell in cells]))
    return _with_means(found)


def with_noise(seed: int, quick: bool) -> Numbers:
    """The same where processing varies by 0.3 around its plan, and the slowest stage has two chambers."""
    found: dict[str, dict[str, float]] = {name: {} for name in POLICIES}
    for hands, region in ((hands, region) for hands in (1, 2) for region in REGIONS):
        metric = f"{_word(hands)}_{region}_frac"
        cells = list(_cells(seed, quick, hands, region, num_parallel=2))
        for name, policy in POLICIES.items():
            fracs = [_frac(cell, policy(), seed, quick, noise=0.3) for cell in cells]
            found[name][metric] = float(np.mean(fracs))
    return _with_means(found)


def hands(seed: int, quick: bool) -> Numbers:
    """Glasses per hour of the same cell with one hand and with two, learned and by sequence."""
    found: dict[str, dict[str, float]] = {}
    for who, policy in (("learned", GlassFlowRobots), ("sequence", POLICIES["sequence"])):
        for num in (1, 2):
            numbers = {}
            for region in REGIONS:
                cells = _cells(seed, quick, num, region)
                rates = [_numbers(cell, policy(), seed, quick)["glasses_per_h"] for cell in cells]
                numbers[f"{region}_glasses_per_h"] = float(np.mean(rates))
            found[f"{who}-{_word(num)}"] = numbers
    return found


def _cells(seed: int, quick: bool, num_hands: int, region: Region, num_parallel: int = 1) -> Iterator[Cell]:
    for has_rail in (False,) if quick else (False, True):
        rng = np.random.default_rng([seed, has_rail])
        yield drawn_cell(
            rng,
            num_stages=NUM_STAGES,
            num_hands=num_hands,
            has_rail=has_rail,
            region=region,
            num_parallel=num_parallel,
        )


def _numbers(cell: Cell, policy: Any, seed: int, quick: bool, noise: float = 0.0) -> dict[str, float]:
    world = drawn_world(cell, 32 if quick else 80, seed, noise=noise)
    simulate(world, policy, seed=seed)
    return {**world.numbers(), "bound_s": cycle_bound_s(world.view.layout)}


def _frac(cell: Cell, policy: Any, seed: int, quick: bool, noise: float = 0.0) -> float:
    numbers = _numbers(cell, policy, seed, quick, noise)
    return numbers["bound_s"] / numbers["cycle_s"]


def _best_cycle(cell: Cell, seed: int, quick: bool) -> float:
    """Return the best share over all cycles that move each stage once; with two hands, the swap as well."""
    orders = [(0, *rest) for rest in permutations(range(1, cell.num_stages + 1))]
    fracs = [_frac(cell, GlassRule(rule="cycle", order=order), seed, quick) for order in orders]
    return max(*fracs, _frac(cell, GlassRule(rule="swap"), seed, quick))


def _with_means(found: dict[str, dict[str, float]]) -> Numbers:
    return {name: {"of_bound_frac": float(np.mean(list(one.values()))), **one} for name, one in found.items()}


def _word(num_hands: int) -> str:
    return "one_hand" if num_hands == 1 else "two_hands"
