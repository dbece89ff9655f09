"""Quantum networks that are offered more than they can take, for what is claimed of their schedulers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.core.nouns import Id
from headway.core.session import policy_stream
from headway.policies.shop.quantum_nouns import Demand
from headway.policies.shop.quantum_qos import QuantumQos
from headway.policies.shop.quantum_tables import quality
from headway.sim.shop.quantum_networks import NETWORKS, Network, all_pairs, apart, demands, network
from headway.sim.shop.quantum_world import HiddenDemand, QuantumWorld

FOREVER = 10**9
RATES_PER_S = (0.4, 0.8, 1.6)
MIXED_RATES_PER_S = (0.4, 0.8, 1.6, 3.2)
FIDELITIES = (0.55, 0.70, 0.85)
NUM_DEMANDS = 60
PATHS = (1, 2, 3, 4)
UNI, BLOCK, SEGMENTS, BUDGET = "uni-np-edf", "rcpsp-np-edf", "rcpsp-nonblock-np-edf", "rcpsp-pb-edf"


def by_topology(seed: int, quick: bool) -> Numbers:
    """Offer the same demands of one fidelity to schedulers in every network."""
    found: dict[str, dict[str, float]] = {UNI: {}, BLOCK: {}, SEGMENTS: {}}
    for name in NETWORKS:
        net = network(name)
        wants = list(_wanted(net, all_pairs(net.users), seed, 0.6, RATES_PER_S, _num(quick)))
        for scheduler, numbers in found.items():
            numbers[f"{name}_pairs_per_s"] = admitted(net, wants, scheduler)["pairs_per_s"]
    return found


def by_paths(seed: int, quick: bool) -> Numbers:
    """Offer the same demands where more and more paths have nothing in common."""
    found: dict[str, dict[str, float]] = {UNI: {}, BLOCK: {}}
    for num in PATHS:
        between = [(f"a{path}", f"b{path}") for path in range(num)]
        wants = list(_wanted(apart(num), between, seed, 0.6, RATES_PER_S, _num(quick)))
        for scheduler, numbers in found.items():
            numbers[f"paths_{num}_pairs_per_s"] = admitted(apart(num), wants, scheduler)["pairs_per_s"]
    return found


def by_fidelity(seed: int, quick: bool) -> Numbers:
    """Offer the same demands with more and more fidelity; the mean over networks."""
    found = {}
    for fidelity in FIDELITIES:
        rates = []
        for name in NETWORKS:
            net = network(name)
            wants = list(_wanted(net, all_pairs(net.users), seed, fidelity, RATES_PER_S, _num(quick)))
            rates.append(admitted(net, wants, BLOCK)["pairs_per_s"])
        found[f"{fidelity:.2f}"] = {"pairs_per_s": float(np.mean(rates))}
    return found


def mixed(seed: int, quick: bool) -> Numbers:
    """Offer demands of all fidelities and rates, so that long blocks stand in the way of short periods."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in NETWORKS:
        net, rng = network(name), np.random.default_rng([seed, 1])
        wants = [
            msgspec.structs.replace(one, fidelity=float(rng.choice(FIDELITIES)))
            for one in _wanted(net, all_pairs(net.users), seed, 0.6, MIXED_RATES_PER_S, _num(quick))
        ]
        world = offered(net, wants, BLOCK)
        for scheduler in (UNI, "uni-pb-edf", "rcpsp-cedf", BLOCK, SEGMENTS, BUDGET):
            row = {**admitted(net, wants, scheduler), **_same(world, scheduler)}
            for metric, value in row.items():
                found.setdefault(scheduler, {}).setdefault(metric, []).append(value)
    return {name: {metric: _mean(one) for metric, one in row.items()} for name, row in found.items()}


def offered(net: Network, wants: Sequence[Demand], scheduler: Any) -> QuantumWorld:
    """Offer demands one after the other; returns the network as the last one was answered."""
    world = QuantumWorld([HiddenDemand(one, FOREVER) for one in wants], net)
    policy = QuantumQos(scheduler=scheduler)
    policy.reset(policy_stream(0))
    for _ in wants:
        event = world.next()
        for action in policy.decide(event, world.view) if event else ():
            world.apply(action)
    return world


def admitted(net: Network, wants: Sequence[Demand], scheduler: Any) -> dict[str, float]:
    """Offer demands one after the other; returns what the last table delivers, and how many demands it serves."""
    view = offered(net, wants, scheduler).view
    return {"pairs_per_s": quality(view.table, view.slot_s).pairs_per_s, "num_served": float(len(view.served))}


def _same(world: QuantumWorld, scheduler: Any) -> dict[str, float]:
    """Let a scheduler serve just those whom the blocks serve, if it can; returns how evenly and how soon."""
    held = world.view.table
    table = QuantumQos(scheduler=scheduler).table(held.protocols, held.periods, world.view) if held.entries else None
    if table is None:
        return {"jitter_s2": math.nan, "response_s": math.nan}
    worth = quality(table, world.view.slot_s)
    return {"jitter_s2": worth.jitter_s2, "response_s": worth.response_s}


def _mean(values: Sequence[float]) -> float:
    there = [one for one in values if not math.isnan(one)]
    return float(np.mean(there)) if there else math.nan


def _wanted(
    net: Network, between: Sequence[tuple[Id, Id]], seed: int, fidelity: float, rates: Sequence[float], num: int
) -> Iterator[Demand]:
    rng = np.random.default_rng([seed, len(net.fibres)])
    return demands(between, rng, fidelity, rates, num)


def _num(quick: bool) -> int:
    return NUM_DEMANDS // 2 if quick else NUM_DEMANDS
