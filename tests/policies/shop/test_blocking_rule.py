"""Dispatching rules for shops without buffers: each chooses what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.policies.shop.blocking_rule import RULES, BlockingRule, Name
from headway.sim.shop.blocking_instances import random_world
from headway.sim.shop.blocking_world import BlockingWorld, Route

ROUTES: list[Route] = [
    [(0, 100)],
    [(1, 3), (0, 5), (2, 1)],
    [(2, 7), (0, 4), (1, 9), (2, 9)],
    [(3, 1), (0, 7)],
]
"""The first keeps machine 0 until the others wait for it: job 3 from 1, job 1 from 3, job 2 from 7 on."""


@pytest.mark.parametrize(
    ("rule", "first"),
    [("fifo", 3), ("lifo", 2), ("spt", 2), ("lpt", 3), ("mtwr", 2), ("ltwr", 1), ("mor", 2), ("lor", 3)],
)
def test_rules_choose_what_their_names_say(rule: Name, first: int) -> None:
    world = BlockingWorld(ROUTES)
    simulate(world, BlockingRule(rule=rule))
    second_operations = {job: world.starts[job][1] for job in (1, 2, 3)}
    assert min(second_operations, key=lambda job: second_operations[job]) == first
    assert second_operations[first] == 100


def test_random_depends_on_the_seed_alone() -> None:
    def makespan(seed: int) -> float:
        world = random_world(0, 10, 5, 0.1)
        simulate(world, BlockingRule(rule="random"), seed=seed)
        return world.makespan_s

    assert makespan(1) == makespan(1)
    assert len({makespan(seed) for seed in range(8)}) > 1


def test_rules_differ() -> None:
    found = set()
    for rule in RULES:
        world = random_world(0, 15, 5, 0.1)
        simulate(world, BlockingRule(rule=rule))
        found.add(world.makespan_s)
    assert len(found) > 5
    assert np.std(list(found)) > 0


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(ConfigError, match="rule must be one of fifo"):
        BlockingRule(rule="best")  # type: ignore[arg-type]
