"""The settings of NanoFlow's evaluation, and how its numbers are measured here.

Models, accelerators and lengths are those of Zhu et al. 2024 (arXiv 2408.12757).
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.serving import Setting
from headway.core.events import Event
from headway.core.nouns import Seconds
from headway.policies.serving.nanoflow import NanoFlow
from headway.policies.serving.nanoflow_plan import SPEEDS, Kind, Points
from headway.policies.serving.nanoflow_search import search
from headway.policies.serving.nouns import StepDone
from headway.policies.serving.seats import Batch
from headway.policies.serving.stack import Stack
from headway.policies.serving.vllm import Vllm
from headway.sim.serving.cost.layer import Layer, Rows, rows_of
from headway.sim.serving.cost.overlap import OverlappedPrice, OverlapSpec
from headway.sim.serving.cost.replica import Replica
from headway.sim.serving.cost.roofline import RooflinePrice
from headway.sim.serving.price import BatchShape, Chunk
from headway.traces.generate.lengths import Fixed

LLAMA = Setting(
    model="llama-2-70b", accelerator="a100-80gb-sxm", tensor_parallel=8, lengths=Fixed(), engine="none", rate_per_s=1e5
)
NUM_GPUS = 8
DENSE_TOKENS = 2048
MIXES = {"512_512": (512, 512), "1024_512": (1024, 512), "512_1024": (512, 1024)}
"""Tokens of prompt and of output."""
VLLM_2024_S: Seconds = 0.04
"""What vLLM's engine added to each step in 2024, by the published throughput."""


def plain() -> tuple[RooflinePrice, Replica]:
    """Return the replica whose operations follow each other, and its price."""
    (place, *_) = LLAMA.scenario.places
    price = place.replica.price
    assert isinstance(price, RooflinePrice)
    return price, place.replica


def overlap(prompt_tokens: int, output_tokens: int) -> OverlapSpec:
    """Return the plan's step for requests of these lengths: as they come in, decodes are in the share of outputs."""
    decodes = round(DENSE_TOKENS * output_tokens / (prompt_tokens + output_tokens))
    return OverlapSpec(tokens=DENSE_TOKENS, decodes=decodes, context_tokens=prompt_tokens + output_tokens // 2)


def operations(seed: int, quick: bool) -> Numbers:  # noqa: ARG001 (nothing is random)
    """Measure what each operation takes in all layers: by the peaks of the hardware, and by our prices."""
    price, made = plain()
    decodes = DENSE_TOKENS // 2
    rows = rows_of(BatchShape(decodes, made.num_kv_tokens, (Chunk(512, 0), Chunk(512, 0))))
    layer, layers = Layer(price.stage), price.stage.num_layers
    took: dict[str, float] = {}
    for one in layer.operations(rows):
        name = "network" if one.kind == "network" else one.name
        took[name] = took.get(name, 0.0) + 1e3 * layers * one.alone_s
    found = {name: {**peaks, "took_ms": took[name]} for name, peaks in _peaks(price, rows).items()}
    kinds = ("compute_ms", "memory_ms", "network_ms")
    found["all"] = {kind: sum(one[kind] for one in found.values()) for kind in kinds}
    return found


def _peaks(price: RooflinePrice, rows: Rows) -> dict[str, dict[str, float]]:
    """Return what the peaks of arithmetic, memory and links allow for, in milliseconds, each by itself."""
    stage = price.stage
    model, on, shards, layers = stage.model, stage.accelerator, stage.tensor_parallel, stage.num_layers
    shapes = {
        **dict(zip(("kqv", "o"), model.attention_shapes(shards), strict=True)),
        **dict(zip(("up", "down"), model.mlp_shapes(shards), strict=True)),
    }
    found = {
        name: (2.0 * rows.tokens * outputs * inputs, 2.0 * outputs * inputs, 0.0)
        for name, (outputs, inputs) in shapes.items()
    }
    kept = 2.0 * model.kv_layer_numbers(shards)
    pairs = model.pair_flops / shards
    found["decode_attention"] = (pairs * rows.context_tokens, kept * rows.context_tokens, 0.0)
    found["prefill_attention"] = (pairs * rows.pairs, kept * rows.new_tokens, 0.0)
    moved = 2.0 * (shards - 1) / shards * 2.0 * rows.tokens * model.hidden * 2.0
    found["network"] = (0.0, 0.0, moved)
    scale = 1e3 * layers
    return {
        name: {
            "compute_ms": scale * flops / on.bf16_flops,
            "memory_ms": scale * read / on.memory_bytes_per_s,
            "network_ms": scale * sent / on.link_bytes_per_s,
        }
        for name, (flops, read, sent) in found.items()
    }


LINEAR: dict[Kind, Points] = dict.fromkeys(SPEEDS, ((0.0, 0.0), (1.0, 1.0)))
"""Nothing is gained by sharing a device: a share R makes everything R as fast."""
STEPS = {"prefill-only": 0, "even": 1024, "decode-heavy": 1365}
"""Decodes in a step of 2048 tokens."""


def steps(seed: int, quick: bool) -> Numbers:  # noqa: ARG001 (nothing is random)
    """Measure how many times as quick a step is by its plan, and if sharing a device gained nothing."""
    return {**{name: _step(decodes) for name, decodes in STEPS.items()}, "linear": _step(1024, linear=True)}


@functools.cache
def _step(decodes: int, *, linear: bool = False) -> dict[str, float]:
    price, _ = plain()
    new, speeds = DENSE_TOKENS - decodes, LINEAR if linear else SPEEDS
    shape = BatchShape(decodes, 768 * decodes, tuple(Chunk(512, 0) for _ in range(new // 512)) or (Chunk(new, 0),))
    layer, rows = Layer(price.stage, price.engine.kernel_factor), rows_of(shape)
    plan = search(lambda frac: layer.operations(rows.part(frac)), splits=[(0.375, 0.625)], speeds=speeds)
    quicker = OverlappedPrice(price=price, plan=plan, speeds=speeds)
    return {"speedup": price.step_s(shape) / quicker.step_s(shape)}


def ablation(seed: int, quick: bool) -> Numbers:
    """Measure tokens per second with plans, with nano-batches one after the other, and without either."""
    spec = overlap(*MIXES["512_512"])
    apart = OverlapSpec(decodes=spec.decodes, context_tokens=spec.context_tokens, side_by_side=False)
    settings = {"nanoflow": spec, "nano-batches": apart, "non-overlap": None}
    return {
        who: {"tokens_per_s": offline_per_s(replace(LLAMA, overlap=one), NanoFlow(), "512_512", seed, quick)}
        for who, one in settings.items()
    }


def offline(seed: int, quick: bool) -> Numbers:
    """Measure tokens per second and accelerator with all requests there from the start."""
    found: dict[str, dict[str, float]] = {}
    today = replace(LLAMA, engine="vllm")
    for mix, lengths in MIXES.items():
        found.setdefault("optimal", {})[f"{mix}_per_s"] = optimal_per_s()
        contestants: dict[str, tuple[Setting, Batch]] = {
            "nanoflow": (replace(LLAMA, overlap=overlap(*lengths)), NanoFlow()),
            "non-overlap": (LLAMA, NanoFlow()),
            "vllm": (today, Vllm(max_batched_tokens=4096, max_seqs=256)),
            "vllm-2024": (replace(today, extra_step_s=VLLM_2024_S), Vllm(max_batched_tokens=4096, max_seqs=256)),
        }
        for who, (setting, seat) in contestants.items():
            found.setdefault(who, {})[f"{mix}_per_s"] = offline_per_s(setting, seat, mix, seed, quick)
    return found


def optimal_per_s() -> float:
    """Return the tokens per second and accelerator at which products at their measured best are all there is."""
    price, _ = plain()
    stage = price.stage
    return stage.accelerator.bf16_flops * stage.gemm.compute_frac / stage.model.token_flops


def offline_per_s(setting: Setting, seat: Batch, mix: str, seed: int, quick: bool) -> float:
    """Return the tokens computed per second and accelerator, from a fifth to four fifths of all of them."""
    prompt_tokens, output_tokens = MIXES[mix]
    lengths = Fixed(prompt_tokens=prompt_tokens, output_tokens=output_tokens)
    setting = replace(setting, lengths=lengths, num_requests=1500 if quick else 3000)
    computed = _Computed()
    setting.scenario.play(Stack(batch=seat), seed=seed, instruments=[computed])
    tokens = np.cumsum(computed.tokens)
    first, last = np.searchsorted(tokens, [0.2 * tokens[-1], 0.8 * tokens[-1]])
    took_s = computed.at_s[last] - computed.at_s[first]
    return float((tokens[last] - tokens[first]) / took_s / NUM_GPUS)


class _Computed:
    """Notes how many tokens had been computed when."""

    hears = (StepDone,)

    def __init__(self) -> None:
        self.at_s: list[Seconds] = []
        self.tokens: list[int] = []

    def on_event(self, event: Event) -> None:
        """Note the tokens of a step."""
        if isinstance(event, StepDone):
            self.at_s.append(event.at_s)
            self.tokens.append(event.num_tokens)
