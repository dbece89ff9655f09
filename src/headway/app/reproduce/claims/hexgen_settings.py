"""The settings of HexGen-Text2SQL's evaluation, and how its numbers are measured here.

Workflows have the calls and mean lengths of the three traces that Peng et al. (arXiv 2505.05286) released; the fleet is
theirs but for the A6000, which the hardware table has not: an A40 stands in, of the same generation and memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.app.studies.capacity import largest_load
from headway.app.studies.trial import Verdict
from headway.core.nouns import Id
from headway.policies.serving.hexgen_text2sql import HexGenText2Sql
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import RequestState
from headway.policies.serving.vllm import Vllm
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.spec import TraceSpec

MIXED = (("a100-80gb-sxm", 2), ("l40s", 1), ("a40", 1))
TWO_KINDS = (("a100-80gb-sxm", 2), ("a40", 2))
EQUAL = (("a100-80gb-sxm", 4),)
CALM_PER_S = {"text2sql-1": 0.02, "text2sql-2": 0.015, "text2sql-3": 0.015}
"""Queries per second of each trace that round robin can just about keep up with on a mixed fleet."""
EQUAL_PER_S = 0.045
"""And on four A100."""
PRESSED = 2.25
"""How many times as many are played where calls are to wait for each other."""
DUE_S = 200.0
"""What every query is promised: about three times what one takes alone on an A100."""
TOLD = ("mean_jct_s", "p50_jct_s", "p95_jct_s", "sessions_in_time_frac")
ALPHAS = (0.0, 0.3, 0.6, 1.0)
IN_TIME_FRAC = 0.95
FEW = 2

Fleet = tuple[tuple[str, int], ...]


class RoundRobin:
    """Sends calls to one instance after the other, of those that could hold them."""

    def __init__(self) -> None:
        self._num = 0

    def reset(self, rng: np.random.Generator) -> None:  # noqa: ARG002 (nothing is random)
        """Begin with the first again."""
        self._num = 0

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the next."""
        able = [i.id for i in view.instances.values() if i.kv.num_blocks * i.kv.block_size >= state.reach_tokens]
        self._num += 1
        return (able or list(view.instances))[self._num % len(able or view.instances)]


def scenario(trace: str, fleet: Fleet, rate_per_s: float, quick: bool) -> ServingScenario:
    """Return queries of a trace on a fleet, each instance of which serves the 70B model in four bits."""
    return ServingScenario(
        trace=TraceSpec(sessions=trace, num_sessions=60 if quick else 100, rate_per_s=rate_per_s, due_s=DUE_S),
        model=ModelSpec(name="llama-3.1-70b", weights="int4", kv="fp8", max_tokens=2048),
        fleet=tuple(
            FleetSpec(
                pool=name,
                accelerator=name,
                instances=num,
                max_batched_tokens=2048,
                memory_frac=0.9 if name.startswith("a100") else 0.97,
            )
            for name, num in fleet
        ),
    )


def stack(who: str, **params: Any) -> Stack:
    """Put a contestant together: who routes, and who says in which order calls start."""
    seat = HexGenText2Sql(order="arrival" if who.startswith("dispatch") else "urgency", **params)
    batch = Vllm(max_batched_tokens=32_768, max_seqs=FEW if who.endswith("-few") else 128)
    if who == "vllm":
        return Stack(batch=batch, route=RoundRobin())
    if who == "fewest":
        return Stack(batch=batch)
    return Stack(batch=batch, route=RoundRobin() if who == "urgency" else seat, order=seat)


def play(where: ServingScenario, seed: int, who: str, **params: Any) -> dict[str, float]:
    """Play one contestant."""
    numbers = where.play(stack(who, **params), seed=seed).report.numbers
    return {metric: numbers[metric] for metric in TOLD}


def ladder(trace: str, fleet: Fleet, seed: int, quick: bool) -> Numbers:
    """Measure both levels, each alone, and neither, where calls wait for each other."""
    where = scenario(trace, fleet, PRESSED * CALM_PER_S[trace], quick)
    return {who: play(where, seed, who) for who in CONTESTANTS}


def headline(seed: int, quick: bool) -> Numbers:
    """Measure the two levels against vLLM on all three traces."""
    found: dict[str, dict[str, float]] = {"vllm": {}, "hexgen": {}}
    for number, (trace, rate_per_s) in enumerate(CALM_PER_S.items(), 1):
        where = scenario(trace, MIXED, rate_per_s, quick)
        for who, metrics in found.items():
            metrics[f"p95_jct_of_trace_{number}_s"] = play(where, seed, who)["p95_jct_s"]
    return found


def fleets(seed: int, quick: bool) -> Numbers:
    """Measure the gain where instances differ, and where they do not."""
    mixed = scenario("text2sql-1", MIXED, CALM_PER_S["text2sql-1"], quick)
    equal = scenario("text2sql-1", EQUAL, EQUAL_PER_S, quick)
    return {
        who: {
            "p95_jct_on_mixed_s": play(mixed, seed, who)["p95_jct_s"],
            "p95_jct_on_equal_s": play(equal, seed, who)["p95_jct_s"],
        }
        for who in ("vllm", "hexgen")
    }


def throughput(seed: int, quick: bool) -> Numbers:
    """Measure how many queries per second come to their ends in time, 95 of 100."""
    base_per_s = CALM_PER_S["text2sql-1"]
    where = scenario("text2sql-1", MIXED, base_per_s, quick)

    def attempt(load: float, who: str) -> Verdict:
        numbers = where.play(stack(who), seed=seed, load=load).report.numbers
        in_time_frac, rate_per_s = numbers["sessions_in_time_frac"], load * base_per_s
        return Verdict(
            passed=in_time_frac >= IN_TIME_FRAC, good_frac=in_time_frac, whole=True, num_runs=1,
            rate_per_s=rate_per_s, numbers={}, wall_s=0.0,
        )  # fmt: skip

    tolerance_frac = 0.2 if quick else 0.1
    found = {
        who: largest_load(partial(attempt, who=who), max_load=8.0, tolerance_frac=tolerance_frac)
        for who in ("vllm", "hexgen")
    }
    return {who: {"queries_per_s": (best.load or 0.0) * base_per_s} for who, best in found.items()}


def alphas(seed: int, quick: bool) -> Numbers:
    """Measure fixed values of alpha with the released score, and the published one with alpha tuned and not."""
    where = scenario("text2sql-1", MIXED, PRESSED * CALM_PER_S["text2sql-1"], quick)
    found: dict[str, dict[str, float]] = {}
    for alpha in ALPHAS:
        found[f"alpha-{alpha:g}"] = play(where, seed, "hexgen", alpha=alpha, tune_every_s=0.0, dispatch="lifetime")
    return found | {"tuned": play(where, seed, "hexgen"), "untuned": play(where, seed, "hexgen", tune_every_s=0.0)}


CONTESTANTS: Mapping[str, str] = {
    "vllm": "round robin, first come first served",
    "urgency": "round robin, the most urgent call first",
    "dispatch": "by score, first come first served",
    "hexgen": "by score, the most urgent call first; alpha tuned by replay",
    "dispatch-few": "as dispatch, where an instance serves two calls at once",
    "hexgen-few": "as hexgen, where an instance serves two calls at once",
    "fewest": "fewest requests first, first come first served (not in the paper)",
}
