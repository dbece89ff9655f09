"""LSP-Offload live: the shipped model fine-tuned by four threads; the links' rate is made up, their bytes are not.

Everything runs on the processor. A side computes with one thread, so that two cores hold both. The links' rate is such
that whole gradients take 1.08 times as long as the passes, which is the publication's 7B example at 10 GB/s (14 GB in
1.4 s beside 1.29 s of passes).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims.lsp_offload_data import SHIPPED, batches
from headway.core.policy import Policy
from headway.engines.tuning.lsp_offload import Offloaded, OffloadEngine, Rates
from headway.engines.tuning.lsp_offload_layers import DecoderLayers, plain_loss
from headway.engines.tuning.lsp_offload_measure import measured
from headway.engines.tuning.lsp_offload_rivals import Batches, GaLore, train_in_memory, train_lora
from headway.engines.tuning.lsp_offload_sides import DeviceSide
from headway.policies.tuning.lsp_offload import LspOffload
from headway.policies.tuning.lsp_offload_nouns import Begin, OffloadView
from headway.policies.tuning.lsp_offload_order import PlainOffload

NUM_EXAMPLES, LENGTH = 4, 64
SENT_OVER_PASSES = 1.08
WIDTH, NONZEROS = 96, 8
"""Half of the hidden size of the shipped model, and the publication's 8."""
NEVER = 1e9


def shipped() -> Any:
    """Load the shipped model in single precision."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(SHIPPED, dtype=torch.float32)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let each side compute with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# Time and bytes ------------------------------------------------------------------------------------------------------

TIMED: Mapping[str, Callable[[], Policy[OffloadView]]] = {
    "zero": PlainOffload,
    "zero-layers": lambda: PlainOffload(order="layers"),
    "lsp-phases": lambda: PlainOffload(width=WIDTH, nonzeros=NONZEROS),
    "lsp": lambda: LspOffload(width=WIDTH, nonzeros=NONZEROS, alpha=NEVER),
}
"""Who is timed; projectors stay random there, for what they hold makes no step longer or shorter."""


def timed(seed: int, quick: bool) -> Numbers:
    """Measure steps of all contestants, one after the other in several rounds, and what each sends."""
    num_steps, num_rounds = (5, 1) if quick else (8, 2)
    feed = batches(seed, num_steps, NUM_EXAMPLES, LENGTH)
    found: dict[str, list[Offloaded]] = {who: [] for who in TIMED}
    memory_s: list[float] = []
    with one_thread():
        model, spare = DecoderLayers(shipped()), DecoderLayers(shipped())
        rates = as_published(model, feed(0))
        for _ in range(num_rounds):
            start_s = perf_counter()
            train_in_memory(spare, feed, num_steps=num_steps, learning_rate=1e-4)
            memory_s.append((perf_counter() - start_s) / num_steps)
            for who, make in TIMED.items():
                engine = OffloadEngine(model, feed, make(), num_steps=num_steps, learning_rate=1e-4, rates=rates)
                found[who].append(engine.run())
    told = {who: _told(runs, num_steps, median(memory_s)) for who, runs in found.items()}
    return {"memory": {"step_s": median(memory_s), "slowdown": 1.0}, **told}


def as_published(model: DecoderLayers, batch: Tensor) -> Rates:
    """Return links so slow against this machine's passes as the publication's are against its accelerator's."""
    passes = measured(model, batch, down_bytes_per_s=math.inf, up_bytes_per_s=math.inf, num_runs=9)
    num_bytes = 4 * sum(one.numel() for layer in model.layers for one in layer.parameters())
    passes_s = len(model.layers) * (passes.forward_s + passes.backward_s)
    rate = num_bytes / (SENT_OVER_PASSES * passes_s)
    return Rates(down_bytes_per_s=rate, up_bytes_per_s=rate)


def _told(runs: list[Offloaded], num_steps: int, memory_s: float) -> dict[str, float]:
    step_s = median(step_s for run in runs for step_s in run.log.step_s("tune")[1:])
    return {
        "step_s": step_s,
        "slowdown": step_s / memory_s,
        "sent_bytes": runs[0].log.num_bytes["down"] / num_steps,
        "host_bytes": float(runs[0].host_bytes),
    }


# Losses --------------------------------------------------------------------------------------------------------------

RATES = {"zero": 4e-3, "lsp": 1.6e-2, "lsp-random": 8e-3, "lora": 1.6e-2, "galore": 6.4e-2}
"""Learning rates: with each contestant the best of those tried (factors of 2) with seed 0."""
LORA_RANK, GALORE_RANK = 4, 11
"""Ranks at which both take as much of the accelerator's memory as the projectors, or a little more."""
ALPHA = 0.9
"""Learning ends there: with 0.5, which takes twice to six times as long, losses were no lower."""
NUM_STEPS, NUM_STEPS_QUICK = 70, 16
MORE = 1.5
"""So many times as many steps as ZeRO-Offload have all others, whose steps are shorter."""


def losses(seed: int, quick: bool) -> Numbers:
    """Train through links, for longer where steps are shorter; return time, bytes and the loss on unseen notices."""
    num_steps = NUM_STEPS_QUICK if quick else NUM_STEPS
    with one_thread():
        rates = as_published(DecoderLayers(shipped()), _notices(seed, num_steps)(0))
        found = {"zero": _trained("zero", seed, num_steps, rates)}
        return found | {who: _trained(who, seed, int(num_steps * MORE), rates) for who in ("lsp", "lsp-random")}


def equal_memory(seed: int, quick: bool) -> Numbers:
    """Train as many steps with each contestant that takes about the same memory, through links that take no time."""
    num_steps = NUM_STEPS_QUICK if quick else NUM_STEPS
    with one_thread():
        return {who: _trained(who, seed, num_steps, Rates()) for who in ("lsp", "lora", "galore")}


def _trained(who: str, seed: int, num_steps: int, rates: Rates) -> dict[str, float]:
    feed, raw, start_s = _notices(seed, num_steps), shipped(), perf_counter()
    model = DecoderLayers(raw)
    if who in ("lora", "galore"):
        device_bytes = _train_rival(who, raw, model, feed, seed, num_steps)
        told = {"took_s": perf_counter() - start_s, "device_bytes": float(device_bytes), "sent_bytes": 0.0}
    else:
        policy = {"zero": PlainOffload, "lsp": _learning, "lsp-random": TIMED["lsp"]}[who]()
        engine = OffloadEngine(
            model, feed, policy, num_steps=num_steps, learning_rate=RATES[who], rates=rates, seed=seed
        )  # fmt: skip
        run = engine.run()
        sent_bytes = float(run.log.num_bytes["down"] + run.log.num_bytes["up"])
        told = {
            "took_s": perf_counter() - start_s,
            "device_bytes": float(run.projector_bytes),
            "sent_bytes": sent_bytes,
            "learning_s": run.log.learning_s(),
        }
    return {"held_out_loss": held_out(model), **told}


def _train_rival(who: str, raw: Any, model: DecoderLayers, feed: Batches, seed: int, num_steps: int) -> int:
    if who == "lora":
        return train_lora(raw, feed, num_steps=num_steps, learning_rate=RATES[who], rank=LORA_RANK, seed=seed)[1]
    galore = GaLore(model, rank=GALORE_RANK, learning_rate=RATES[who], num_steps=num_steps, every_steps=50)
    galore.train(feed)
    return galore.num_bytes


def _learning() -> Policy[OffloadView]:
    return LspOffload(width=WIDTH, nonzeros=NONZEROS, alpha=ALPHA, learn_steps=100)


def held_out(model: DecoderLayers) -> float:
    """Return the mean loss on 16 batches of notices that nobody is trained on."""
    feed = _notices(1_000_000, 16)
    with torch.no_grad():
        return sum(float(plain_loss(model, feed(step))) for step in range(16)) / 16


def _notices(seed: int, num_steps: int) -> Batches:
    return batches(seed, num_steps, NUM_EXAMPLES, LENGTH, by_heart=True)


# Bias ----------------------------------------------------------------------------------------------------------------

BIASED = (3,)
"""The layers whose gradients are looked at: one in the middle."""


def biases(seed: int, quick: bool) -> Numbers:
    """Measure the bias of random and of learnt projectors on real gradients, and on those of the next batch."""
    with one_thread():
        return {
            f"{kind}-{nonzeros}": found
            for nonzeros in (4, 8, 16)
            for kind, found in _biases(seed, nonzeros, 60 if quick else 100).items()
        }


def _biases(seed: int, nonzeros: int, learn_steps: int) -> Mapping[str, dict[str, float]]:
    form = Begin("tune", WIDTH, nonzeros, alpha=0.0, learn_steps=learn_steps, beta=1e-4)
    device = DeviceSide(DecoderLayers(shipped()), batches(seed, 2, NUM_EXAMPLES, LENGTH), form, seed)
    _gradients(device, 0)
    found = {"random": {"bias_frac": _mean_bias(device)}, "scaled": {"bias_frac": _mean_scaled_bias(device)}}
    for layer in BIASED:
        device.learn(layer)
    found["learnt"] = {"bias_frac": _mean_bias(device)}
    for layer in range(6):
        device.compress(layer)  # lets go of the gradients
    _gradients(device, 1)
    found["learnt"]["next_bias_frac"] = _mean_bias(device)
    return found


def _gradients(device: DeviceSide, step: int) -> None:
    for layer in range(6):
        device.forward(layer, step)
    for layer in reversed(range(6)):
        device.backward(layer)


def _mean_bias(device: DeviceSide) -> float:
    return sum(device.bias_frac(layer) for layer in BIASED) / len(BIASED)


def _mean_scaled_bias(device: DeviceSide) -> float:
    """Return the bias with each PP'GQQ' multiplied with the number that brings it nearest to G."""
    found = []
    for layer in BIASED:
        left = whole = 0.0
        for name, pair in device.pairs[layer].items():
            gradient = device.gradient(layer, name)
            back = pair.decompress(pair.compress(gradient))
            scale = float((back * gradient).sum() / back.square().sum())
            left += float((scale * back - gradient).square().sum())
            whole += float(gradient.square().sum())
        found.append(math.sqrt(left / whole))
    return sum(found) / len(found)
