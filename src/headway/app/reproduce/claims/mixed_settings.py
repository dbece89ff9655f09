"""The mixed workload: chat, code completion, summaries, agents and a best-effort batch, each with promises of its own.

It is `examples/recipes/mixed-slo.toml`, from the traces that come along; a test holds the two to each other.
"""

from __future__ import annotations

import functools
import math

from headway.app.reproduce.claim import Numbers
from headway.app.studies.capacity import largest_load
from headway.app.studies.trial import Verdict
from headway.core import catalogue
from headway.sim.serving.recipe import FleetSpec, ModelSpec, SloSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.spec import TraceSpec

POLICIES = ("headway", "slos-serve", "sarathi")
LEVEL = 0.9
BEYOND = 1.3
"""Attainment is told at this many times the load that Sarathi-Serve carries."""
QUICK_REQUESTS = 400
TOLERANCE_FRAC = 0.1

MIX = (
    TraceSpec(
        source="azure-conv", end_s=540.0, max_requests=450, window="random", rate_per_s=0.5, slo_classes={"chat": 1.0}
    ),
    TraceSpec(
        source="azure-code", end_s=800.0, max_requests=450, window="random", rate_per_s=0.5, slo_classes={"code": 1.0}
    ),
    TraceSpec(
        source="mooncake-conv",
        end_s=155.0,
        max_requests=45,
        window="random",
        rate_per_s=0.05,
        max_tokens=32768,
        slo_classes={"summary": 1.0},
    ),
    TraceSpec(
        source="agent-sessions",
        end_s=130.0,
        max_requests=300,
        window="random",
        rate_per_s=0.34,
        slo_classes={"agent": 1.0},
    ),
    TraceSpec(
        source="azure-conv", end_s=540.0, max_requests=90, window="random", rate_per_s=0.1, slo_classes={"batch": 1.0}
    ),
)
SLOS = (
    SloSpec(name="chat", ttft_s=1.0, tpot_s=0.1),
    SloSpec(name="code", ttft_s=1.0, tpot_s=0.05),
    SloSpec(name="summary", ttft_s=8.0, tpot_s=0.1),
    SloSpec(name="agent", ttft_s=1.0, tpot_s=0.05),
    SloSpec(name="batch"),
)


@functools.lru_cache(maxsize=2)
def scenario(quick: bool) -> ServingScenario:
    """Return one A100 with the five kinds of work."""
    return ServingScenario(
        trace=TraceSpec(mix=MIX, max_requests=QUICK_REQUESTS if quick else None),
        model=ModelSpec(name="llama-3.1-8b"),
        fleet=(FleetSpec(accelerator="a100-80gb-sxm"),),
        slo=SLOS,
    )


def carried(seed: int, quick: bool) -> Numbers:
    """Return the largest load of each policy, and how all fare beyond that of Sarathi-Serve."""
    loads = {name: _load(name, seed, quick) for name in POLICIES}
    beyond = BEYOND * loads["sarathi"]
    return {
        name: {"load_at_90": loads[name], "kept_beyond_frac": kept_frac(name, seed, beyond, quick)} for name in POLICIES
    }


def kept_frac(name: str, seed: int, load: float, quick: bool) -> float:
    """Return the share of the requests that were promised something and were given all of it."""
    policy = catalogue.build(f"serving/{name}")
    return scenario(quick).play(policy, seed=seed, load=load).report.numbers["promised_good_frac"]


def _load(name: str, seed: int, quick: bool) -> float:
    def attempt(load: float) -> Verdict:
        share = kept_frac(name, seed, load, quick)
        return Verdict(
            passed=share >= LEVEL, good_frac=share, whole=True, num_runs=1, rate_per_s=math.nan, numbers={}, wall_s=0.0
        )

    return largest_load(attempt, max_load=64.0, tolerance_frac=TOLERANCE_FRAC).load or math.nan
