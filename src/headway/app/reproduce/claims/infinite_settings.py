"""The settings of Infinite-LLM's evaluation as far as they are known, and how its numbers are measured here.

Models, accelerators and ranges of lengths are those of Lin et al. 2024 (arXiv 2401.02669, version 2). How lengths lie
within their ranges is not published: here half of the prompts are short, and a twentieth fills the upper half of the
range. 32 accelerators are scaled down to four.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import msgspec

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims.infinite_parts import Shuttle
from headway.policies.serving.infinite_llm import InfiniteLlm
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.sim.serving.cost.hardware import accelerator_facts
from headway.sim.serving.cost.replica import Replica, replica
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.lengths import Fixed, Lengths, LogNormal, Quantiles
from headway.traces.spec import TraceSpec

ACCELERATOR = "a100-80gb-sxm"
LEVELS = (0.0, 0.5, 0.8, 0.95, 1.0)
OUTPUT = (64.0, 800.0, 1500.0, 3000.0, 6000.0)
SHORT = Quantiles(prompt=(16, 1200, 6000, 30_000, 60_000), output=OUTPUT, levels=LEVELS)
"""Prompts of 1 to 60 K tokens: each fits into the memory of one instance."""
LONG = Quantiles(prompt=(16, 1500, 10_000, 80_000, 200_000), output=OUTPUT, levels=LEVELS)
"""Prompts of 1 to 200 K tokens: of the longest, two or three instances' memory is filled."""
MEAN_TOKENS, MOST_TOKENS = 5000.0, 80_000
SIGMAS = {"even": 0.5, "uneven": 1.5}
TOKEN_BUDGET = 2048
CONTEXT_TOKENS = 1 << 20
RATES = (0, 16, 32, 64)
ETHERNET_BYTES_PER_S = 125e6
"""Between nodes, as the publication reports it."""
METRICS = ("output_tokens_per_s", "p99_ttft_s", "mean_e2e_s", "kv_used_frac", "num_rejected", "num_preemptions")


class AcrossNodes(ServingScenario):
    """Every accelerator is in a node of its own, and Ethernet is all there is between them."""

    def _replica(self, spec: FleetSpec) -> Replica:
        slow = {"link_bytes_per_s": ETHERNET_BYTES_PER_S, "network_bytes_per_s": ETHERNET_BYTES_PER_S}
        facts = msgspec.structs.replace(accelerator_facts(spec.accelerator), **slow)
        return replica(self.model.name, facts, tensor_parallel=spec.tensor_parallel)


@functools.lru_cache(maxsize=32)
def scenario(lengths: Lengths, num_requests: int, instances: int, split: int, across: bool = False) -> ServingScenario:
    """Return so many instances of LLaMA2-7B, each split over so many accelerators; all requests come at once."""
    fleet = FleetSpec(accelerator=ACCELERATOR, instances=instances, tensor_parallel=split, caching=False)
    kind = AcrossNodes if across else ServingScenario
    trace = TraceSpec(lengths=lengths, num_requests=num_requests)  # type: ignore[arg-type]
    return kind(trace=trace, model=ModelSpec(name="llama-2-7b", context_tokens=CONTEXT_TOKENS), fleet=(fleet,))


def stack(lending: InfiniteLlm | None = None) -> Stack:
    """Return what all have in common, with lending or without."""
    batch = SarathiServe(token_budget=TOKEN_BUDGET)
    return Stack(batch=batch) if lending is None else Stack(batch=batch, admit=lending, migrate=lending)


def play(where: ServingScenario, lending: InfiniteLlm | None, seed: int) -> dict[str, float]:
    """Play one contestant."""
    numbers = where.play(stack(lending), seed=seed).report.numbers
    return {metric: numbers[metric] for metric in METRICS}


def short(seed: int, quick: bool) -> Numbers:
    """Measure lengths that fit into one instance."""
    num = 200 if quick else 600
    four, one = scenario(SHORT, num, 4, 1), scenario(SHORT, num, 1, 4)
    return {
        "infinite-llm": play(four, InfiniteLlm(), seed),
        "overflow": play(four, InfiniteLlm(plan="overflow"), seed),
        "multi": play(four, None, seed),
        "single": play(one, None, seed),
    }


def long(seed: int, quick: bool) -> Numbers:
    """Measure lengths of which some fit into no instance alone, within a node and with Ethernet in between."""
    num = 100 if quick else 200
    near, far = (scenario(LONG, num, 4, 1, across) for across in (False, True))
    one, apart = (scenario(LONG, num, 1, 4, across) for across in (False, True))
    return {
        "infinite-llm": play(near, InfiniteLlm(), seed),
        "multi": play(near, None, seed),
        "single": play(one, None, seed),
        "infinite-llm-ethernet": play(far, InfiniteLlm(), seed),
        "single-ethernet": play(apart, None, seed),
    }


def variance(seed: int, quick: bool) -> Numbers:
    """Measure lengths with one mean that differ little or much."""
    num = 200 if quick else 400
    found: dict[str, dict[str, float]] = {"infinite-llm": {}, "multi": {}}
    for name, sigma in SIGMAS.items():
        where = scenario(log_normal(sigma), num, 4, 1)
        for who, lending in (("infinite-llm", InfiniteLlm()), ("multi", None)):
            found[who][f"{name}_tokens_per_s"] = play(where, lending, seed)["output_tokens_per_s"]
    return found


def log_normal(sigma: float) -> LogNormal:
    """Return prompts of one mean whose logarithm has this standard deviation."""
    return LogNormal(
        prompt_median=MEAN_TOKENS / math.exp(sigma * sigma / 2),
        prompt_sigma=sigma,
        output_median=800,
        output_sigma=0.8,
        max_prompt_tokens=MOST_TOKENS,
        max_output_tokens=6000,
    )


def instances(seed: int, quick: bool) -> Numbers:
    """Measure few and many instances, each with its share of the requests."""
    found: dict[str, dict[str, float]] = {"infinite-llm": {}, "multi": {}}
    for count in (2, 8):
        where = scenario(SHORT, (50 if quick else 100) * count, count, 1)
        for who, lending in (("infinite-llm", InfiniteLlm()), ("multi", None)):
            found[who][f"of_{count}_tokens_per_s"] = play(where, lending, seed)["output_tokens_per_s"]
    return found


def rates(seed: int, quick: bool) -> Numbers:
    """Measure decodes of two instances while blocks move between them all the time."""
    where = scenario(Fixed(prompt_tokens=8000, output_tokens=500 if quick else 2000), 16, 2, 1)
    found = {}
    for rate in RATES:
        policy = Stack(batch=SarathiServe(token_budget=TOKEN_BUDGET), migrate=Shuttle(tokens_per_step=rate))
        numbers = where.play(policy, seed=seed).report.numbers
        found[f"rate-{rate}"] = {"output_tokens_per_s": numbers["output_tokens_per_s"]}
    return found


def contexts(seed: int, quick: bool) -> Numbers:
    """Measure the longest prompt that some instances serve together, to 1,000 tokens (4,000 when quick)."""
    step = 4000 if quick else 1000

    def longest(count: int, lends: bool) -> float:
        least, most = 0, 200_000 * count
        while most - least > step:
            prompt = (least + most) // 2
            where = scenario(Fixed(prompt_tokens=prompt, output_tokens=4), 1, count, 1)
            served = where.play(stack(InfiniteLlm() if lends else None), seed=seed).report.numbers["num_finished"] > 0
            least, most = (prompt, most) if served else (least, prompt)
        return float(least)

    names: Mapping[str, tuple[int, bool]] = {
        "multi": (4, False), "pooled-1": (1, True), "pooled-2": (2, True), "pooled-4": (4, True),
    }  # fmt: skip
    return {name: {"longest_tokens": longest(*how)} for name, how in names.items()}
