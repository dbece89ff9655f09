"""The settings of AIBrix's evaluation, and how its numbers are measured here.

The publication (arXiv 2504.03648) names data sets and hardware, not lengths, rates or numbers of requests; these are
chosen here so that the baseline is about as loaded as its published times say. Queries to the databases of Bird-SQL are
made up: a schema in front that all queries to a database share, and a question of their own behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import structs

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims.aibrix_traces import ClosedLoop, WithAdapters, WithQueries
from headway.app.studies.mix import cheapest_mix, kinds_of
from headway.core.actions import Set
from headway.core.scenario import Outcome
from headway.core.trace import MemoryTrace
from headway.policies.serving.aibrix import AIBrix
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import Batch
from headway.policies.serving.stack import Stack
from headway.policies.serving.vllm import Vllm
from headway.sim.serving.cost.replica import replica
from headway.sim.serving.recipe import FleetSpec, KvPoolSpec, ModelSpec, SloSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.arrivals import Markov
from headway.traces.generate.lengths import LogNormal
from headway.traces.generate.prefixes import PrefixGroups
from headway.traces.spec import TraceSpec

MODEL = ModelSpec(name="llama-3.1-8b")
BIRD = LogNormal(prompt_median=1700, prompt_sigma=0.15, output_median=60, output_sigma=0.6)
SCHEMAS = PrefixGroups(num_groups=80, prefix_tokens=1536, zipf=0.6)
"""Bird-SQL has 80 databases in its two public parts."""
CHAT = LogNormal(prompt_median=1500, prompt_sigma=0.15, output_median=500, output_sigma=0.6)
POOL = KvPoolSpec(gib=64.0)
SLOW_BYTES_PER_S = 0.125e9
"""One gigabit per second."""
FELT = ("mean_ttft_s", "p99_ttft_s", "mean_itl_s")


def a10s(num: int = 4, **more: Any) -> FleetSpec:
    """Return a pool of A10s."""
    return FleetSpec(accelerator="a10", instances=num, **more)


def play(
    scenario: ServingScenario, part: AIBrix, seed: int, load: float = 1.0, batch: Batch | None = None, **more: Any
) -> Outcome:
    """Play AIBrix in front of engines that run chunks of prompts beside decodes, or as `batch` says."""
    stack = Stack(batch=batch or SarathiServe(), route=part, place=part, scale=part)
    return scenario.play(stack, seed=seed, load=load, **more)


def some(outcome: Outcome, metrics: Sequence[str]) -> dict[str, float]:
    """Return some of the numbers of a run."""
    return {metric: outcome.report.numbers[metric] for metric in metrics}


# The pool of keys and values -----------------------------------------------------------------------------------------


POOL_OF_EVICTED = KvPoolSpec(gib=64.0, takes="evicted")
NUM_CLIENTS = 64


def pool(seed: int, quick: bool) -> Numbers:
    """Measure engines with and without a pool, as many requests in the system at all times."""
    engines: dict[str, tuple[Callable[[], Batch], bool]] = {
        "default": (Vllm, False), "chunked": (SarathiServe, False), "prefix": (Vllm, True),
    }  # fmt: skip
    num = 400 if quick else 900
    at_once = ClosedLoop(lengths=BIRD, prefixes=SCHEMAS, num_requests=num, num_clients=NUM_CLIENTS)
    found = {}
    for name, (make, caches) in engines.items():
        found[name] = _engine(at_once, make(), caches, None, seed)
        found[f"{name}+pool"] = _engine(at_once, make(), True, POOL, seed)
    found["prefix+evicted"] = _engine(at_once, Vllm(), True, POOL_OF_EVICTED, seed)
    one_by_one = structs.replace(at_once, ramp_s=20.0)
    found["ramped"] = _engine(one_by_one, Vllm(), True, None, seed)
    found["ramped+pool"] = _engine(one_by_one, Vllm(), True, POOL, seed)
    return found


def _engine(trace: TraceSpec, batch: Batch, caches: bool, spec: KvPoolSpec | None, seed: int) -> dict[str, float]:
    scenario = ServingScenario(trace=trace, model=MODEL, fleet=(a10s(caching=caches),), kv_pool=spec)
    outcome = play(scenario, AIBrix(strategy="random"), seed, batch=batch)
    numbers = outcome.report.numbers
    tokens_per_s = numbers["prompt_tokens_per_s"] + numbers["output_tokens_per_s"]
    return some(outcome, FELT) | {"tokens_per_s": tokens_per_s}


SHARES = {"share-0": 0.0, "share-50": 0.5, "share-100": 1.0}


def sharing(seed: int, quick: bool) -> Numbers:
    """Measure how much of the mean TTFT a pool saves, by how many prompts share a beginning and how fast it is."""

    def mean_ttft_s(share_frac: float, spec: KvPoolSpec | None) -> float:
        groups = PrefixGroups(num_groups=80, prefix_tokens=1536, zipf=0.6, shared_frac=share_frac)
        num = 200 if quick else 400
        trace = TraceSpec(lengths=BIRD, prefixes=groups, num_requests=num, rate_per_s=6.0)
        scenario = ServingScenario(trace=trace, model=MODEL, fleet=(a10s(),), kv_pool=spec)
        return play(scenario, AIBrix(strategy="random"), seed).report.numbers["mean_ttft_s"]

    def saved_frac(share_frac: float, spec: KvPoolSpec) -> float:
        return 1 - mean_ttft_s(share_frac, spec) / mean_ttft_s(share_frac, None)

    slow = KvPoolSpec(gib=64.0, bytes_per_s=SLOW_BYTES_PER_S)
    found = {name: {"ttft_saved_frac": saved_frac(share_frac, POOL)} for name, share_frac in SHARES.items()}
    return found | {"slow-100": {"ttft_saved_frac": saved_frac(1.0, slow)}}


# Routing -------------------------------------------------------------------------------------------------------------

ROUTERS: dict[str, dict[str, Any]] = {
    "random": {"strategy": "random"},
    "least-request": {"strategy": "least-request"},
    "least-kv-cache": {"strategy": "least-kv-cache"},
    "prefix-cache": {},
    "preble": {"strategy": "prefix-cache-preble"},
    "unguarded": {"guarded": False},
}
FELT_AT_DOOR = ("mean_ttft_s", "p99_ttft_s", "mean_e2e_s", "p99_e2e_s", "prefix_hit_frac")


def _route(scenario: ServingScenario, routers: Mapping[str, Mapping[str, Any]], seed: int, load: float) -> Numbers:
    return {name: some(play(scenario, AIBrix(**more), seed, load), FELT_AT_DOOR) for name, more in routers.items()}


def routing(seed: int, quick: bool) -> Numbers:
    """Measure routers on queries that share schemas."""
    num = 300 if quick else 700
    trace = TraceSpec(lengths=BIRD, prefixes=SCHEMAS, num_requests=num, rate_per_s=10.0)
    return _route(ServingScenario(trace=trace, model=MODEL, fleet=(a10s(),)), ROUTERS, seed, 1.0)


def guard(seed: int, quick: bool) -> Numbers:
    """Measure routing by prefixes where all prompts begin alike: conversations, at half their recorded rate."""
    trace = TraceSpec(source="mooncake-conv", max_requests=250 if quick else 500, window="random")
    fleet = FleetSpec(accelerator="a100-80gb-sxm", instances=4)
    names = ("least-request", "prefix-cache", "unguarded")
    scenario = ServingScenario(trace=trace, model=MODEL, fleet=(fleet,))
    return _route(scenario, {name: ROUTERS[name] for name in names}, seed, 0.5)


def sessions(seed: int, quick: bool) -> Numbers:
    """Measure routers on agents' sessions, whose prompts are so long that eight of them overflow an instance."""
    num = 300 if quick else 783
    trace = TraceSpec(source="agent-sessions", max_requests=num, shuffle_lengths=False)
    routers = {name: ROUTERS[name] for name in ("random", "least-request", "prefix-cache")}
    return _route(
        ServingScenario(trace=trace, model=MODEL, fleet=(a10s(),)),
        routers | {"imbalance-2": {"imbalance": 2, "deviations": 1.0}},
        seed,
        1.0 + 0.05 * seed,  # what was recorded is the same for every seed; they differ in how close it comes
    )


# Scaling -------------------------------------------------------------------------------------------------------------

BURSTS = Markov(rates_per_s=(0.3, 1.6), mean_stays_s=(400.0, 250.0))
SCALERS: dict[str, dict[str, Any]] = {
    "apa": {"scaler": "apa"},
    "kpa": {"scaler": "kpa"},
    "hpa": {"scaler": "hpa"},
    "apa-60": {"scaler": "apa", "down_cooldown_s": 60.0},
    "hpa-60": {"scaler": "hpa", "down_cooldown_s": 60.0},
    "kpa-requests": {"scaler": "kpa", "metric": "requests", "target": 6.0},
}


def scaling(seed: int, quick: bool) -> Numbers:
    """Measure autoscalers under bursts: two to ten instances that take two minutes to start."""
    trace = TraceSpec(lengths=CHAT, num_requests=500 if quick else 1200, arrivals=BURSTS)
    fleet = a10s(2, max_instances=10, startup_s=120.0)
    scenario = ServingScenario(trace=trace, model=MODEL, fleet=(fleet,))
    found = {}
    for name, more in SCALERS.items():
        asked = MemoryTrace(10_000_000)
        outcome = play(scenario, AIBrix(strategy="least-request", min_instances=2, **more), seed, trace=asked)
        sizes = [2, *(int(action.value) for action in asked.actions if isinstance(action, Set))]
        metrics = ("mean_e2e_s", "p99_e2e_s", "mean_ttft_s", "output_tokens_per_s", "num_accelerators")
        found[name] = some(outcome, metrics) | {"num_changes": float(len(sizes) - 1), "num_turns": turns(sizes)}
    return found


def turns(sizes: Sequence[int]) -> float:
    """Return how often something that grew shrinks, or the other way round: its oscillations."""
    signs = np.sign(np.diff(sizes))
    return float((signs[1:] * signs[:-1] < 0).sum())


# Mixed accelerators --------------------------------------------------------------------------------------------------

TTFT_S, TPOT_S = 5.0, 0.1
USD_PER_H = {"a10": 1.0, "a40": 1.5}
RATE_PER_S = 11.0


def mix(seed: int, quick: bool) -> Numbers:
    """Measure the cheapest mix of two accelerators, and of the larger alone."""
    trace = WithQueries(
        source="sharegpt", max_requests=500 if quick else 1000, window="random", rate_per_s=RATE_PER_S,
        max_prompt_tokens=4096, max_output_tokens=1024,
    )  # fmt: skip
    kinds = kinds_of(trace.draw(seed))
    replicas = {name: replica(MODEL.name, name) for name in USD_PER_H}
    both = cheapest_mix(kinds, replicas, usd_per_h=USD_PER_H, ttft_s=TTFT_S, tpot_s=TPOT_S)
    large = cheapest_mix(kinds, {"a40": replicas["a40"]}, usd_per_h=USD_PER_H, ttft_s=TTFT_S, tpot_s=TPOT_S)
    contestants = {
        "large": (large, "slo-least-load"),
        "mix": (both, "slo-least-load"),
        "mix-blind": (both, "least-request"),
    }
    return {name: _mixed(trace, counts, strategy, seed) for name, (counts, strategy) in contestants.items()}


def _mixed(trace: TraceSpec, counts: Mapping[str, int], strategy: str, seed: int) -> dict[str, float]:
    fleet = tuple(
        FleetSpec(pool=name, accelerator=name, instances=num, usd_per_h=USD_PER_H[name])
        for name, num in counts.items()
        if num
    )
    scenario = ServingScenario(trace=trace, model=MODEL, fleet=fleet, slo=(SloSpec(ttft_s=TTFT_S, tpot_s=TPOT_S),))
    outcome = play(scenario, AIBrix(strategy=strategy), seed)
    return some(outcome, ("cost_usd_per_h", "mean_e2e_s", "p99_ttft_s", "p99_tpot_s", "goodput_frac"))


# Adapters ------------------------------------------------------------------------------------------------------------


def adapters(seed: int, quick: bool) -> Numbers:
    """Measure where six adapters are brought, with eight places for them on each of four instances."""
    trace = WithAdapters(lengths=CHAT, num_requests=150 if quick else 300, rate_per_s=0.3, num_adapters=6)
    scenario = ServingScenario(trace=trace, model=MODEL, fleet=(a10s(max_adapters=8),))
    found = {}
    for placement in ("bin-pack", "least-adapters"):
        outcome = play(scenario, AIBrix(strategy="least-request", placement=placement), seed)
        found[placement] = _adapted(outcome)
    found["on-demand"] = _adapted(scenario.play(Stack(batch=SarathiServe()), seed=seed))
    return found


def _adapted(outcome: Outcome) -> dict[str, float]:
    used = float(len(set(outcome.samples["resource"].tolist())))
    return some(outcome, ("mean_itl_s", "p99_itl_s", "mean_ttft_s")) | {"num_instances_used": used}
