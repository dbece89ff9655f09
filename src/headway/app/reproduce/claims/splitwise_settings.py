"""The settings of Splitwise's evaluation, and how its numbers are measured here.

Clusters, traces, limits and prices are those of Patel et al. 2024 (arXiv 2311.18677), with a fifth of the machines.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims.splitwise_parts import ShortestQueue
from headway.app.studies.capacity import largest_load
from headway.app.studies.trial import Verdict
from headway.core.drivers import simulate
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.castillo import Castillo
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestFinished
from headway.policies.serving.splitwise import Splitwise
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.sim.serving.cost.replica import replica
from headway.sim.serving.links import Links
from headway.sim.serving.price import BatchShape, Chunk, StepPrice
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import ServingScenario
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from headway.traces.generate.arrivals import Poisson
from headway.traces.spec import TraceSpec

MODEL = "llama-2-70b"
A100, H100 = "a100-80gb-sxm", "h100-sxm"
ENGINE = "vllm-2023"
"""With its overhead per step a machine without load has about the published latencies."""
USD_PER_H = {A100: 17.6, H100: 38.0}
"""Of a machine with eight accelerators."""
POWER = {A100: 1.0, H100: 1.75}
"""What a machine is provisioned for, as a multiple of a DGX-A100."""
LIMITS = {"ttft": (2.0, 3.0, 6.0), "tbt": (1.25, 1.5, 5.0), "e2e": (1.25, 1.5, 5.0)}
"""P50, P90 and P99 of the slowdown of requests over an A100 machine of their own."""
QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Design:
    """A cluster: so many machines for prompts and for tokens, or for both."""

    prompt: tuple[str, int] = (A100, 0)
    token: tuple[str, int] = (A100, 0)
    mixed: tuple[str, int] = (A100, 0)

    @property
    def pools(self) -> dict[str, tuple[str, int]]:
        """Accelerator and number of machines by pool, those that are empty left out."""
        return {pool: own for pool in ("prompt", "token", "mixed") if (own := getattr(self, pool))[1]}

    @property
    def usd_per_h(self) -> float:
        """Price of the cluster."""
        return sum(USD_PER_H[name] * num for name, num in self.pools.values())

    @property
    def power(self) -> float:
        """What it is provisioned for, in DGX-A100s."""
        return sum(POWER[name] * num for name, num in self.pools.values())

    def stack(self) -> Stack:
        """Return who schedules it: Splitwise where there are pools, else mixed batches on the shortest queue."""
        machine = Splitwise()
        if self.mixed[1]:
            return Stack(batch=machine, route=ShortestQueue())
        # The authors' simulator reads the true lengths of outputs, too.
        return Stack(batch=machine, route=machine, migrate=machine, predict=Castillo(kind="oracle"))


@functools.lru_cache(maxsize=32)
def scenario(design: Design, trace: str, num_requests: int) -> ServingScenario:
    """Return a scenario in which one request per second arrives."""
    fleet = tuple(
        FleetSpec(
            pool=pool,
            accelerator=name,
            instances=num,
            tensor_parallel=8,
            caching=False,
            usd_per_h=USD_PER_H[name],
            engine=ENGINE,
        )
        for pool, (name, num) in design.pools.items()
    )
    arriving = TraceSpec(lengths=trace, num_requests=num_requests, arrivals=Poisson(rate_per_s=1.0))
    return ServingScenario(trace=arriving, model=ModelSpec(name=MODEL, context_tokens=16_384), fleet=fleet)


@functools.cache
def reference() -> StepPrice:
    """Return what steps cost on an A100 machine."""
    return replica(MODEL, A100, tensor_parallel=8, engine_fit=ENGINE).price


def slowdowns(works: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Return how many times as long requests took as on an A100 machine of their own, by metric."""
    price, prompt, output = reference(), works["prompt_tokens"], works["output_tokens"]
    ttft_s = np.array([price.step_s(BatchShape(0, 0, (Chunk(int(tokens), 0),))) for tokens in prompt])
    base_s, per_token_s = price.decode_line(1)
    tbt_s = base_s + per_token_s * (prompt + output / 2)
    more = output > 1
    e2e_s = ttft_s + (output - 1) * tbt_s
    return {"ttft": works["ttft_s"] / ttft_s, "tbt": (works["tpot_s"] / tbt_s)[more], "e2e": works["e2e_s"] / e2e_s}


def used_frac(works: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Return the largest share of its limits that each metric used up; above 1 it missed one."""
    return {
        metric: max(float(np.quantile(slow, q)) / limit for q, limit in zip(QUANTILES, LIMITS[metric], strict=True))
        for metric, slow in slowdowns(works).items()
    }


DESIGNS = {
    "baseline-a100": Design(mixed=(A100, 14)),
    "baseline-h100": Design(mixed=(H100, 8)),
    "aa": Design(prompt=(A100, 8), token=(A100, 6)),
    "hh": Design(prompt=(H100, 5), token=(H100, 3)),
    "ha": Design(prompt=(H100, 4), token=(A100, 7)),
    "aa-iso-cost": Design(prompt=(A100, 10), token=(A100, 7)),
    "hh-for-code": Design(prompt=(H100, 7), token=(H100, 1)),
}
"""A fifth of the published clusters of equal power (70 DGX-A100 or 40 DGX-H100) or cost; pools found by a search."""


START_PER_S = {
    "baseline-a100": 18.0, "baseline-h100": 45.0, "aa": 38.0, "hh": 65.0, "ha": 48.0, "aa-iso-cost": 50.0,
    "hh-for-code": 25.0,
}  # fmt: skip
"""Where the search for what a design carries begins; it ends where it must, whatever that is."""


@functools.cache
def capacity_per_s(who: str, seed: int, quick: bool) -> float:
    """Return the largest rate of conversations at which all nine limits are kept."""
    design = DESIGNS[who]
    playing = scenario(design, "azure-conv", 500 if quick else 1200)

    def attempt(load: float) -> Verdict:
        outcome = playing.play(design.stack(), seed=seed, load=load)
        passed = max(used_frac(outcome.works).values()) <= 1
        return Verdict(
            passed=passed, good_frac=math.nan, whole=True, num_runs=1, rate_per_s=load, numbers={}, wall_s=0.0
        )

    start = START_PER_S[who]
    found = largest_load(attempt, start=start, max_load=8 * start, tolerance_frac=0.15 if quick else 0.1)
    return found.load or 0.0


def capacities(seed: int, quick: bool) -> Numbers:
    """Measure what each design carries, with what it costs and is provisioned for."""
    carried = {who: capacity_per_s(who, seed, quick) for who in DESIGNS}
    return {
        who: {
            "requests_per_s": rate_per_s,
            "requests_per_usd": rate_per_s * 3600 / DESIGNS[who].usd_per_h,
            "usd_per_h": DESIGNS[who].usd_per_h,
            "power_in_a100s": DESIGNS[who].power,
        }
        for who, rate_per_s in carried.items()
    }


def at_one_rate(seed: int, quick: bool) -> Numbers:
    """Measure latencies, used-up limits and power where the baseline on A100 is about full: 30 conversations per s."""
    found: dict[str, dict[str, float]] = {}
    for who in ("baseline-a100", "baseline-h100", "aa", "hh", "ha"):
        design = DESIGNS[who]
        outcome = scenario(design, "azure-conv", 300 if quick else 900).play(design.stack(), seed=seed, load=30.0)
        used, numbers = used_frac(outcome.works), outcome.report.numbers
        found[who] = {
            **{f"{metric}_limit_used_frac": share for metric, share in used.items()},
            **{metric: numbers[metric] for metric in ("p50_ttft_s", "p50_e2e_s", "p99_tpot_s", "mean_watts")},
        }
    return found


LINKS = Links(token_bytes=327_680.0, between_bytes_per_s=25e9)
"""Keys and values of Llama2-70B over 200 Gb/s, as between the machines of the publication's experiments."""


def transfers(seed: int, quick: bool) -> Numbers:  # noqa: ARG001 (nothing is random)
    """Measure how much longer a lone request waits for its second token when that comes from another machine."""
    return {
        who: {
            f"second_token_at_{tokens}": second_token_s(layerwise_tokens, tokens) / second_token_s(None, tokens) - 1
            for tokens in (512, 1024, 2048)
        }
        for who, layerwise_tokens in (("layerwise", 0), ("serialized", 1 << 20))
    }


def second_token_s(layerwise_tokens: int | None, prompt_tokens: int) -> float:
    """Return the time from the first token of a lone request to its second; on one machine with None."""
    machine = Splitwise() if layerwise_tokens is None else Splitwise(layerwise_tokens=layerwise_tokens)
    request = Request(id="alone", arrival_s=0.0, prompt_tokens=prompt_tokens, max_tokens=2)
    pools = ("mixed",) if layerwise_tokens is None else ("prompt", "token")
    instances = [InstanceState(pool, BlockPool(512), 80, pool=pool) for pool in pools]
    world = ServingWorld([TrueRequest(request=request, output_tokens=2)], instances, reference(), links=LINKS)
    trace = MemoryTrace()
    policy = Stack(batch=machine, route=machine, migrate=machine)
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    return next(record.tpot_s for record in trace.records if isinstance(record, RequestFinished))
