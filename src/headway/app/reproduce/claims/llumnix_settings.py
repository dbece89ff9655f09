"""The settings of Llumnix's evaluation, and how its numbers are measured here.

Models, lengths and thresholds are those of Sun et al. 2024 (arXiv 2406.03243) and of the experiments that its authors
released; rates are a little higher than theirs, for these instances are a little faster.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims.llumnix_parts import MostFreeMemory, MoveOnce, RoundRobin
from headway.core.drivers import simulate
from headway.core.scenario import Outcome
from headway.core.session import truth_stream
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.llumnix import Llumnix
from headway.policies.serving.nouns import Request
from headway.policies.serving.seats import Route
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.policies.serving.vllm import Vllm
from headway.sim.serving.cost.replica import replica
from headway.sim.serving.gaps import TokenGaps
from headway.sim.serving.links import Links
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import ServingScenario
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from headway.traces.generate.arrivals import AnyArrivals, Gamma, Poisson
from headway.traces.generate.lengths import Zipf
from headway.traces.spec import TraceSpec
from headway.traces.table import Labels, RequestTable

KV_BLOCKS = 851
"""13,616 tokens: LLaMA-7B on an A10, as published."""
EXPONENTS = {128: 2.0, 256: 1.5, 512: 1.15}
"""Of the power law, by mean length."""
RATES_PER_S = {"medium": 9.0, "long": 3.5}
"""Where memory is about full; the authors' highest are 8.0 and 3.2."""
MEANS = {"medium": 256, "long": 512}


class Prioritised(TraceSpec, frozen=True, kw_only=True):
    """A trace of which one request in ten is of high priority.

    Parameters
    ----------
    told : bool
        Whether the scheduler knows.
    """

    told: bool = True

    def draw(self, seed: int = 0, load: float = 1.0) -> RequestTable:
        """Draw the requests of one run."""
        table = super().draw(seed, load)
        if not self.told:
            return table
        return replace(table, labels={**table.labels, "priority": Labels(high(len(table), seed), ("0", "1"))})


def high(num: int, seed: int) -> NDArray[np.int64]:
    """Return 1 for requests of high priority and 0 for others."""
    return (truth_stream(seed + 1_000_003).random(num) < 0.1).astype(np.int64)


def trace(mean: int, arrivals: AnyArrivals, num_requests: int) -> TraceSpec:
    """Return requests whose prompts and outputs follow the power law of a mean."""
    exponent = EXPONENTS[mean]
    lengths = Zipf(prompt_mean=mean, output_mean=mean, prompt_exponent=exponent, output_exponent=exponent)
    return TraceSpec(lengths=lengths, arrivals=arrivals, num_requests=num_requests)


def scenario(arriving: TraceSpec, **more: int) -> ServingScenario:
    """Return LLaMA-7B on 16 A10 under a trace."""
    fleet = FleetSpec(accelerator="a10", kv_blocks=KV_BLOCKS, caching=False, **{"instances": 16, **more})  # type: ignore[arg-type]
    model = ModelSpec(name="llama-2-7b", max_tokens=6144, context_tokens=12_288)  # the longest of each, together
    return ServingScenario(trace=arriving, model=model, fleet=(fleet,))


def batch() -> Vllm:
    """Return the engine's scheduler: prompts first, recomputation."""
    return Vllm(max_batched_tokens=12_288, max_seqs=256)


def llumnix(**parameters: float) -> Stack:
    """Return Llumnix on all instances."""
    seat = Llumnix(**parameters)  # type: ignore[arg-type]
    return Stack(batch=batch(), route=seat, order=seat, migrate=seat)


def routed(route: Route) -> Stack:
    """Return instances that leave each request where it was sent."""
    return Stack(batch=batch(), route=route)


WHO: dict[str, Callable[[], Stack]] = {
    "llumnix": llumnix,
    "infaas": lambda: routed(MostFreeMemory()),
    "round-robin": lambda: routed(RoundRobin()),
    "dispatch-only": lambda: llumnix(migrate=False),
    "infaas-blind": lambda: routed(MostFreeMemory(sees_queues=False)),
}


@functools.lru_cache(maxsize=8)
def mixed(mix: str, quick: bool) -> ServingScenario:
    """Return the scenario of a mix of lengths, about 7 or 19 minutes of it."""
    arrivals = Poisson(rate_per_s=RATES_PER_S[mix])
    num_requests = {"medium": 4000, "long": 4000}[mix] // (3 if quick else 1)
    return scenario(trace(MEANS[mix], arrivals, num_requests))


def serving(mix: str, who: tuple[str, ...], seed: int, quick: bool) -> Numbers:
    """Measure what requests of one mix of lengths feel under some schedulers."""
    return {name: felt(mixed(mix, quick).play(WHO[name](), seed=seed)) for name in who}


def felt(outcome: Outcome) -> dict[str, float]:
    """Return the metrics of the publication: requests, prefills, decodes, and what preemption cost."""
    numbers = outcome.report.numbers
    names = ("mean_e2e_s", "p99_e2e_s", "mean_ttft_s", "p99_ttft_s", "p99_tpot_s", "num_preemptions")
    return {name: numbers[name] for name in names}


def priorities(cv: float, seed: int, quick: bool) -> Numbers:
    """Measure requests of high and of normal priority in bursts, with and without telling the scheduler."""
    num = 2000 if quick else 4000
    arriving = trace(128, Gamma(rate_per_s=26.0, cv=cv), num)
    found = {}
    for who, told in (("llumnix", True), ("llumnix-base", False)):
        spec = Prioritised(
            lengths=arriving.lengths, arrivals=arriving.arrivals, num_requests=arriving.num_requests, told=told
        )
        works = scenario(spec).play(llumnix(), seed=seed).works
        is_high = high(num, seed)[works["row"]] > 0
        found[who] = {**_means(works, is_high, "high"), **_means(works, ~is_high, "normal")}
    return found


def _means(works: Mapping[str, NDArray[np.float64]], rows: NDArray[np.bool_], name: str) -> dict[str, float]:
    means = {f"{name}_mean_{metric}": float(works[metric][rows].mean()) for metric in ("e2e_s", "ttft_s", "tpot_s")}
    return means | {f"{name}_p99_ttft_s": float(np.quantile(works["ttft_s"][rows], 0.99))}


def scaling(seed: int, quick: bool) -> Numbers:
    """Measure waits and instances in use while their number follows the load: requests that are long, 2.5 per s."""
    found = {}
    spec = trace(512, Gamma(rate_per_s=2.5, cv=2.0), 1000 if quick else 3000)
    for who in ("llumnix", "infaas"):
        seat = Llumnix(migrate=who == "llumnix", scale=True)
        stack = Stack(batch=batch(), route=seat if who == "llumnix" else MostFreeMemory(), migrate=seat)
        outcome = scenario(spec, instances=4, max_instances=16).play(stack, seed=seed)
        numbers = outcome.report.numbers
        found[who] = {
            **{name: numbers[name] for name in ("mean_ttft_s", "p99_ttft_s", "p99_e2e_s")},
            "mean_instances": numbers["num_accelerators"],
        }
    return found


def pauses(seed: int, quick: bool) -> Numbers:  # noqa: ARG001 (nothing is random)
    """Measure the longest gap between tokens of a lone request that is moved, beyond a step."""
    found: dict[str, dict[str, float]] = {}
    ways: tuple[Literal["live", "blocking", "recompute"], ...] = ("live", "blocking", "recompute")
    for how in ways:
        found[how] = {f"pause_at_{tokens}_s": pause_s(how, tokens) for tokens in (256, 1024, 4096)}
    return found


def pause_s(how: Literal["live", "blocking", "recompute"], prompt_tokens: int) -> float:
    """Return how much longer than the median the longest gap between two tokens is."""
    price = replica("llama-2-7b", "a10").price
    request = Request(id="moved", arrival_s=0.0, prompt_tokens=prompt_tokens, max_tokens=100)
    instances = [InstanceState(name, BlockPool(KV_BLOCKS), 32) for name in ("source", "destination")]
    gaps, links = TokenGaps(), Links(token_bytes=524_288.0, between_bytes_per_s=8e9)
    truth, can = [TrueRequest(request=request, output_tokens=100)], frozenset({"migrate", "copy"})
    world = ServingWorld(truth, instances, price, gaps=gaps, links=links, can=can)
    mover = MoveOnce(how, at_s=price_of_prompt(prompt_tokens) + 1.0)
    simulate(world, Stack(batch=batch(), route=mover, migrate=mover))
    return gaps.itl_s.max - gaps.itl_s.at(0.5)


def price_of_prompt(tokens: int) -> float:
    """Return a little more than how long a prompt takes, in seconds."""
    return 0.1 + 2e-4 * tokens
