"""Mechanisms of different publications in one stack, in the small world."""

from __future__ import annotations

import pytest

from headway.core import catalogue
from headway.core.drivers import simulate
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.nouns import RequestFinished
from headway.sim.serving.small import small_world

COMBINATIONS: dict[str, dict[str, object]] = {
    "promises, freeness and time to live": {
        "admit": "serving/slos-serve",
        "route": "serving/llumnix",
        "migrate": "serving/llumnix",
        "evict": "serving/continuum",
        "order": "serving/continuum",
    },
    "prefixes in front of whole prompts, guessed lengths": {
        "route": "serving/aibrix",
        "batch": "serving/vllm",
        "order": "serving/shortest-first",
        "predict": {"id": "serving/castillo", "kind": "learned"},
    },
    "deadlines behind a router of prefixes": {"route": "serving/prefix-route", "batch": "serving/headway"},
    "layers, with pins and migration": {
        "batch": "serving/layered-prefill",
        "evict": "serving/continuum",
        "order": "serving/continuum",
        "route": "serving/llumnix",
        "migrate": "serving/llumnix",
    },
    "places for requests in chunks of their own": {
        "admit": "serving/slos-serve",
        "batch": {"id": "serving/sarathi", "token_budget": 64},
        "predict": {"id": "serving/castillo", "kind": "quantile"},
    },
    "lending behind the freest": {"route": "serving/llumnix", "migrate": "serving/infinite-llm"},
}


@pytest.mark.parametrize("name", COMBINATIONS)
@pytest.mark.parametrize("seed", [0, 1])
def test_seats_of_different_mechanisms_work_together(name: str, seed: int) -> None:
    policy = catalogue.build("serving/stack", COMBINATIONS[name])
    world, accounts = small_world(seed)
    trace = MemoryTrace(1_000_000)
    report = simulate(world, policy, session=Session(policy, world.view, seed=seed, accounts=accounts, trace=trace))
    assert world.num_left == 0
    assert report.num_refused == 0, report.refused
    assert any(isinstance(record, RequestFinished) for record in trace.records)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_combination_decides_the_same_again(name: str) -> None:
    decisions = []
    policy = catalogue.build("serving/stack", COMBINATIONS[name])
    for _ in range(2):
        world, _ = small_world(3)
        trace = MemoryTrace(1_000_000)
        simulate(world, policy, session=Session(policy, world.view, seed=3, trace=trace))
        decisions.append(trace.actions)
    assert decisions[0] == decisions[1]
