"""The settings of semi-PD's evaluation, and how its numbers are measured here.

Model, hardware, bounds and batch sizes are those of Hong et al. 2025 (arXiv 2504.19867). The mean of the prompts, 251
tokens, is that of its short ones; all else of the lengths is assumed. The bounds are said to be 7.5 times the latency
of a single request: 0.15 s per token are 20 ms, of which steps take 12.6 in this world. The rest is taken to be the
engine's own time, which every contestant spends with every step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims.semi_pd_parts import DECODE, PREFILL, apart
from headway.core.nouns import Seconds
from headway.policies.serving.latency_laws import Law, Sample, fit_tpot, fit_ttft
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.semi_pd import SemiPd
from headway.policies.serving.stack import Stack
from headway.policies.serving.vllm import Vllm
from headway.sim.serving.recipe import FleetSpec, ModelSpec, SloSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.lengths import LogNormal
from headway.traces.spec import TraceSpec

SHAREGPT = LogNormal(prompt_median=140, prompt_sigma=1.08, output_median=150, output_sigma=0.9, max_tokens=2048)
BOUNDS: dict[str, tuple[Seconds, Seconds]] = {"tight": (0.3, 0.15), "loose": (0.4, 0.2)}
ENGINE_S: Seconds = 0.0075
"""What the engine of the evaluation is taken to add to each step."""
LONGEST_STEP = 8192
ATTAIN_FRAC = 0.9
FIRST_PER_S = 20.0
NUM_REQUESTS = 2000
FEW_BLOCKS = 3000
"""A memory of 48,000 tokens instead of the 430,000 or so that there is room for."""

CONTESTANTS: dict[str, Callable[[], Stack]] = {
    "semi-pd": lambda: Stack(batch=SemiPd(chunk_tokens=LONGEST_STEP)),
    "semi-pd-100-100": lambda: Stack(batch=SemiPd(chunk_tokens=LONGEST_STEP, window=0)),
    "vllm": lambda: Stack(batch=Vllm(max_batched_tokens=LONGEST_STEP, max_seqs=512)),
    "splitfuse": lambda: Stack(batch=SarathiServe(token_budget=1024, max_seqs=512)),
    "apart": apart,
}


@functools.lru_cache(maxsize=32)
def scenario(
    who: str,
    bounds: tuple[Seconds, Seconds],
    num_requests: int,
    kv_blocks: int | None = None,
) -> ServingScenario:
    """Return the world of a contestant: one accelerator, or two."""
    pools = (PREFILL, DECODE) if who == "apart" else ("main",)
    return ServingScenario(
        trace=TraceSpec(lengths=SHAREGPT, num_requests=num_requests, rate_per_s=1.0),
        model=ModelSpec(name="llama-3-8b"),
        fleet=tuple(
            FleetSpec(pool=pool, accelerator="a100-80gb-sxm", extra_step_s=ENGINE_S, kv_blocks=kv_blocks)
            for pool in pools
        ),
        slo=(SloSpec(ttft_s=bounds[0], tpot_s=bounds[1], quantile=ATTAIN_FRAC),),
    )


def play(who: str, load: float, seed: int, **kwargs: object) -> Mapping[str, float]:
    """Play a contestant at so many requests per second and return the numbers of its report."""
    return scenario(who, **kwargs).play(CONTESTANTS[who](), seed=seed, load=load).report.numbers


@functools.cache
def rate_per_s(who: str, bounds: str, seed: int, quick: bool, kv_blocks: int | None = None) -> float:
    """Return the largest rate of arrivals per accelerator at which 90% of the requests are within both bounds.

    The search goes up or down by a tenth from where most of them end, because runs beyond what is carried take long.
    """
    num_requests, num_accelerators = 1600 if quick else NUM_REQUESTS, 2 if who == "apart" else 1

    def passes(rate_per_s: float) -> bool:
        load = rate_per_s * num_accelerators
        numbers = play(who, load, seed, bounds=BOUNDS[bounds], num_requests=num_requests, kv_blocks=kv_blocks)
        return numbers["goodput_frac"] >= ATTAIN_FRAC

    rate, factor = FIRST_PER_S, 1.1 if passes(FIRST_PER_S) else 1 / 1.1
    while passes(rate * factor) == (factor > 1):
        rate *= factor
    low, high = sorted((rate, rate * factor))
    middle = (low * high) ** 0.5
    return middle if not quick and passes(middle) else low


def rates(bounds: str, kv_blocks: int | None, who: Sequence[str], seed: int, quick: bool) -> Numbers:
    """Measure what each contestant carries."""
    return {name: {"rate_per_s": rate_per_s(name, bounds, seed, quick, kv_blocks)} for name in who}


def laws(seed: int, quick: bool) -> Numbers:
    """Measure latencies at splits of the compute, and how well the two laws fit them."""
    splits = (0.3, 0.45, 0.6, 0.7, 0.75) if quick else (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)
    ttft: list[Sample] = []
    tpot: list[Sample] = []
    for split in splits:
        seat = SemiPd(chunk_tokens=LONGEST_STEP, window=0, prefill_share=split, decode_share=round(1 - split, 6))
        world = scenario("semi-pd", BOUNDS["tight"], 400 if quick else 1000)
        numbers = world.play(Stack(batch=seat), seed=seed, load=8.0).report.numbers
        ttft.append((split, numbers["p90_ttft_s"]))
        tpot.append((1 - split, numbers["p90_tpot_s"]))
    above = [(share, value) for share, value in tpot if share > 0.34]
    return {
        "ttft-law": _told(fit_ttft(ttft, 0.0), ttft),
        "tpot-law": _told(fit_tpot(tpot), tpot),
        "tpot-law-above": _told(fit_tpot(above), above),
    }


def _told(law: Law, samples: list[Sample]) -> dict[str, float]:
    whole = law.scale + law.base
    return {
        "r_squared": law.r_squared(samples),
        "scale_frac": law.scale / whole,
        "base_frac": law.base / whole,
        "knee": law.knee,
    }
