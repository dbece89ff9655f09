"""The settings of the comparison of dispatching rules in shops without buffers, and what they come to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.policies.shop.blocking_rule import RULES, BlockingRule
from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.isbjssp_gnn import IsbjsspGnn
from headway.sim.shop.blocking_instances import draw_routes, durations, problem_of
from headway.sim.shop.blocking_truth import draw
from headway.sim.shop.blocking_world import BlockingWorld, Route

SIZES = ((10, 5), (15, 5), (10, 10))
"""Jobs and machines: those of Lawrence's first, second and fourth sets."""
LEAST, MOST = 5, 99
"""Processing times of Lawrence's instances, uniform."""
PROBS = (0.0, 0.05, 0.1, 0.2)
NUM_SHOPS, NUM_QUICK = 12, 3
"""Shops of each size in one seed."""
SMALL = (6, 4)
"""What a solver settles in a second."""
POLICIES: dict[str, Callable[[], Any]] = {
    "learned": IsbjsspGnn,
    **{rule: partial(BlockingRule, rule=rule) for rule in RULES},
}


def shop(seed: int, size: tuple[int, int], number: int) -> tuple[list[Route], np.random.SeedSequence]:
    """Return the routes of a shop, and the seed of what happens in it; neither depends on who plays it."""
    for_routes, for_truth = np.random.SeedSequence([seed, *size, number]).spawn(2)
    return draw_routes(np.random.default_rng(for_routes), *size, least=LEAST, most=MOST), for_truth


def play(policy: Any, seed: int, size: tuple[int, int], number: int, fail_prob: float, **kind: Any) -> BlockingWorld:
    """Play a shop by a policy; returns the world at its end."""
    routes, truth = shop(seed, size, number)
    hidden = draw(durations(routes), fail_prob, np.random.default_rng(truth))
    world = BlockingWorld(routes, hidden, **kind)
    simulate(world, policy, seed=seed)
    return world


def dispatched(fail_prob: float, seed: int, quick: bool) -> Numbers:
    """Measure the mean makespan of every policy, over all sizes and over each, and the mean of the rules."""
    found = {name: _makespans(make(), fail_prob, seed, quick) for name, make in POLICIES.items()}
    ruled = [found[rule] for rule in RULES]
    found["mean rule"] = {metric: float(np.mean([one[metric] for one in ruled])) for metric in ruled[0]}
    return found


def failing(seed: int, quick: bool) -> Numbers:
    """Measure the learned rule's mean makespan at each probability of an interruption."""
    return {f"{prob:.0%}": _makespans(IsbjsspGnn(), prob, seed, quick) for prob in PROBS}


def buffered(seed: int, quick: bool) -> Numbers:
    """Measure what buffers, and what swaps are worth, by most work remaining."""
    kinds: dict[str, dict[str, bool]] = {"blocking": {}, "buffers": {"blocking": False}, "no swaps": {"swap": False}}
    found: dict[str, dict[str, float]] = {}
    for name, kind in kinds.items():
        worlds = [
            play(BlockingRule(), seed, size, number, 0.0, **kind)
            for size in SIZES
            for number in range(NUM_QUICK if quick else NUM_SHOPS)
        ]
        deadlocked = np.array([world.is_deadlocked for world in worlds])
        found[name] = {"deadlock_frac": float(deadlocked.mean())}
        if not deadlocked.any():
            found[name]["makespan_s"] = float(np.mean([world.makespan_s for world in worlds]))
    return found


def against_optimum(seed: int, quick: bool) -> Numbers:
    """Measure makespans of shops that a solver settles, without interruptions."""
    solver, num_shops = CpSat(workers=1), 4 if quick else 12
    found: dict[str, list[float]] = {name: [] for name in ("optimum", "learned", *RULES)}
    for number in range(num_shops):
        result = solver.solve(problem_of(shop(seed, SMALL, number)[0]), budget_s=60.0, rng=np.random.default_rng(seed))
        if result.status != "optimal" or result.objective is None:
            raise ConfigError(f"reproduce: a shop of {SMALL} must be solved in a minute, got {result.status}.")
        found["optimum"].append(result.objective)
        for name, make in POLICIES.items():
            found[name].append(play(make(), seed, SMALL, number, 0.0).makespan_s)
    best = np.array(found["optimum"])
    found["mean rule"] = np.mean([found.pop(rule) for rule in RULES], axis=0).tolist()
    return {
        name: {"makespan_s": float(np.mean(one)), "gap_frac": float(np.mean(one / best - 1))}
        for name, one in found.items()
    }


def _makespans(policy: Any, fail_prob: float, seed: int, quick: bool) -> dict[str, float]:
    num_shops = NUM_QUICK if quick else NUM_SHOPS
    of_sizes = {
        f"{jobs}x{machines}_makespan_s": float(
            np.mean([play(policy, seed, (jobs, machines), n, fail_prob).makespan_s for n in range(num_shops)])
        )
        for jobs, machines in SIZES
    }
    return {"makespan_s": float(np.mean(list(of_sizes.values())))} | of_sizes
