"""LoRAFusion's scheduler in virtual time: four adapters in a pipeline, packed, in turns, or one after the other.

Data sets are lognormal with means and spreads of our choice: short articles, news, encyclopedia, and a mixture. The
pipeline has four stages and microbatches of 4,096 tokens at most, the longest example.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from headway.app.reproduce.claim import Numbers
from headway.core.drivers import simulate
from headway.core.policy import Policy
from headway.policies.tuning.lorafusion import LoraFusion
from headway.policies.tuning.lorafusion_board import PipelineView
from headway.policies.tuning.mlora import Mlora
from headway.policies.tuning.one_by_one import OneByOne
from headway.sim.tuning.lorafusion import PipelineWorld, PipeSpec, TrueJob
from headway.sim.tuning.lorafusion_jobs import DataSpec, draw_jobs

SHORT = DataSpec(mean_tokens=500, sigma=0.6)
NEWS = DataSpec(mean_tokens=1000, sigma=0.5)
LONG = DataSpec(mean_tokens=2000, sigma=0.7)
MIXES: dict[str, tuple[DataSpec, ...]] = {
    "short": (SHORT,) * 4,
    "news": (NEWS,) * 4,
    "long": (LONG,) * 4,
    "mixed": (SHORT, NEWS, LONG, NEWS),
}
CAPACITY_TOKENS = 4096
BATCH_SIZES = (8, 32)
SLICES = (1, 2, 4, 0)
"""Examples of a microbatch that those that do not pack may choose from; 0 is as many as fit."""

OURS = {
    "lorafusion": LoraFusion(),
    "greedy": LoraFusion(max_nodes=0),
    "no-merging": LoraFusion(lookahead=0),
    "no-groups": LoraFusion(max_group=1),
}


def gains(seed: int, quick: bool) -> Numbers:
    """Measure speed and bubbles over all data sets and sizes of a global batch, and the gains of packing."""
    sizes = BATCH_SIZES[:1] if quick else BATCH_SIZES
    settings = [(mix, size) for mix in MIXES for size in sizes]
    found = {who: [played(who, mix, size, seed, quick) for mix, size in settings] for who in ("mlora", "one-by-one")}
    found["lorafusion"] = [played("lorafusion", mix, size, seed, quick) for mix, size in settings]
    numbers = {who: _means(each) for who, each in found.items()}
    for who in ("mlora", "one-by-one"):
        gain = [
            ours["tokens_per_s"] / theirs["tokens_per_s"]
            for ours, theirs in zip(found["lorafusion"], found[who], strict=True)
        ]
        numbers["lorafusion"] |= {f"mean_gain_over_{who}": sum(gain) / len(gain), f"most_gain_over_{who}": max(gain)}
    return numbers


def parts(seed: int, quick: bool) -> Numbers:
    """Measure what each part of the scheduler adds: few examples in a global batch, where they matter most."""
    return {who: _means([played(who, mix, 8, seed, quick) for mix in MIXES]) for who in OURS}


def stages(seed: int, quick: bool) -> Numbers:
    """Measure bubbles as the pipeline grows longer, with global batches of 32."""
    found: dict[str, dict[str, float]] = {who: {} for who in ("lorafusion", "mlora", "one-by-one")}
    for who, numbers in found.items():
        for num_stages in (2, 4, 8):
            one = played(who, "mixed", 32, seed, quick, num_stages)
            numbers[f"{num_stages}_stages_bubble_frac"] = one["bubble_frac"]
    return found


@functools.cache
def played(who: str, mix: str, batch_size: int, seed: int, quick: bool, num_stages: int = 4) -> dict[str, float]:
    """Play one contestant; those that do not pack choose how many examples a microbatch has, afterwards."""
    spec = PipeSpec(num_stages=num_stages, capacity_tokens=CAPACITY_TOKENS)
    jobs = draw_jobs(MIXES[mix], seed, num_batches=4 if quick else 12, batch_size=batch_size)
    found = []
    for policy in _policies(who):
        world = PipelineWorld([TrueJob(job=job) for job in jobs], spec)
        simulate(world, policy, seed=seed)
        found.append(world.numbers())
    return max(found, key=lambda numbers: numbers["tokens_per_s"])


def _policies(who: str) -> Sequence[Policy[PipelineView]]:
    if who == "mlora":
        return [Mlora(samples=samples) for samples in SLICES]
    return [OneByOne(samples=samples) for samples in SLICES] if who == "one-by-one" else [OURS[who]]


def _means(each: Sequence[dict[str, float]]) -> dict[str, float]:
    names = ("tokens_per_s", "bubble_frac", "padding_frac", "mean_jct_s", "num_microbatches")
    return {name: sum([one[name] for one in each]) / len(each) for name in names}
