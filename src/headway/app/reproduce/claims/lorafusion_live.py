"""LoRAFusion by the clock: four adapters trained in one process, and its function beside that of `peft`."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import headway
from headway.app.reproduce.alone import alone
from headway.app.reproduce.claim import Numbers
from headway.core.nouns import Seconds
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec
from headway.engines.tuning.tokens import writing_examples
from headway.policies.tuning.one_by_one import OneByOne

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED = Path(headway.__file__).parent / "engines" / "llm" / "shipped" / "headway-mini"
MICROBATCH_TOKENS = 512
NUM_ADAPTERS = 4
MEAN_TOKENS = (30, 45, 60, 90)
"""Of the examples of each adapter: short answers."""
Told = dict[str, list[float]]
"""Losses of each step, by job."""


def shipped(seed: int, quick: bool) -> Numbers:
    """Train four adapters of the model that ships with Headway."""
    return _training(str(SHIPPED), seed, quick)


def small(seed: int, quick: bool) -> Numbers:
    """Train four adapters of a random model of 10 million parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=2048, hidden_size=384, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
        return _training(folder, seed, quick)


def _training(model: str, seed: int, quick: bool) -> Numbers:
    from headway.engines.tuning.trainer import Trainer

    found: dict[str, list[Seconds]] = {}
    losses: dict[str, Told] = {}
    with tempfile.TemporaryDirectory() as folder, alone():
        tokens, num_tokens = _examples(Path(folder), seed, num_steps=2 if quick else 4)
        for nth in range(2 if quick else 3):

            def specs(who: str, microbatch_tokens: int = MICROBATCH_TOKENS, nth: int = nth) -> list[TuneSpec]:
                return [
                    TuneSpec(
                        job=f"job-{one}", name=f"job-{one}", model=model, tokens=str(path), num_epochs=1, seed=seed,
                        folder=f"{folder}/{who}-{nth}-{one}", microbatch_tokens=microbatch_tokens, checkpoint_steps=0,
                        learning_rate=2e-3,
                    )
                    for one, path in enumerate(tokens)
                ]  # fmt: skip

            def apart(who: str, microbatch_tokens: int, specs: Callable[..., list[TuneSpec]] = specs) -> None:
                told = losses[who] = {}
                took_s = 0.0
                for spec in specs(who, microbatch_tokens):
                    trainer, start_s = Trainer(spec), time.perf_counter()
                    trainer.train(_keeper(told, spec))
                    took_s += time.perf_counter() - start_s
                found.setdefault(who, []).append(took_s)

            apart("trainer", MICROBATCH_TOKENS)
            apart("trainer-2048", NUM_ADAPTERS * MICROBATCH_TOKENS)
            found.setdefault("fused-apart", []).append(_joint(specs("fused-apart"), OneByOne(samples=0), losses))
            found.setdefault("lorafusion", []).append(_joint(specs("lorafusion"), None, losses))
    return {
        who: {
            "tokens_per_s": num_tokens / statistics.median(took),
            "last_loss": statistics.mean(one[-1] for one in losses[who].values()),
            "agreeing_digits": _agreeing_digits(losses[who], losses["trainer"]),
        }
        for who, took in found.items()
    }


def _joint(specs: Sequence[TuneSpec], policy: OneByOne | None, losses: dict[str, Told]) -> Seconds:
    from headway.engines.tuning.lorafusion_runs import JointTraining

    told = losses["lorafusion" if policy is None else "fused-apart"] = {}
    joint = JointTraining(specs, policy=policy)
    start_s = time.perf_counter()
    joint.train(lambda spec, news: _keeper(told, spec)(news))
    return time.perf_counter() - start_s


def _keeper(told: Told, spec: TuneSpec) -> Callable[[TuneNews], None]:
    def keep(news: TuneNews) -> None:
        if news.loss is not None:
            told.setdefault(spec.job, []).append(news.loss)

    return keep


def _agreeing_digits(ours: Told, theirs: Told) -> float:
    """Return in how many digits all losses agree."""
    apart = max(abs(a - b) / b for job in theirs for a, b in zip(ours[job], theirs[job], strict=True))
    return min(9.0, -math.log10(apart)) if apart else 9.0


def _examples(folder: Path, seed: int, num_steps: int) -> tuple[list[Path], int]:
    """Write examples of four tasks: a text, and then the same words in another order; returns files and tokens."""
    tasks: tuple[Callable[[list[int]], list[int]], ...] = (
        lambda words: words[::-1], sorted, lambda words: words, lambda words: [words[0]] * len(words),
    )  # fmt: skip
    paths, num_tokens = [], 0
    for nth, (mean_tokens, task) in enumerate(zip(MEAN_TOKENS, tasks, strict=True)):
        rng = np.random.default_rng([seed, nth])
        paths.append(folder / f"task-{nth}.safetensors")
        with writing_examples(paths[-1]) as writer:
            for _ in range(8 * num_steps):
                size = int(np.clip(rng.lognormal(math.log(mean_tokens / 2), 0.5), 3, 200))
                words = rng.integers(300, 2048, size).tolist()
                writer.add(words + task(words), [0] * size + [1] * size)
        num_tokens += writer.num_tokens
    return paths, num_tokens


@dataclass(frozen=True)
class Ways:
    """One linear layer with an adapter of rank 16, computed in two ways."""

    forward: Mapping[str, Callable[[], Tensor]]
    both: Mapping[str, Callable[[], object]]
    inputs: tuple[Tensor, ...]


def function(seed: int, quick: bool) -> Numbers:
    """Measure one linear layer with an adapter of rank 16 and 10% dropout, forward and backward."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokens, width = 2048, 4096 if device == "cuda" else 768
    ways = _ways(seed, tokens, width, 0.1, device)
    took: dict[str, list[Seconds]] = {who: [] for who in ways.both}
    with alone():
        for _ in range(10 if quick else 30):
            for who, both in ways.both.items():
                took[who].append(_timed(both, device))
    counted = moved(seed, tokens, width, 0.1)
    return {who: {"calls_per_s": 1.0 / statistics.median(took[who])} | dict(counted[who]) for who in took}


def moved(seed: int, tokens: int, width: int, dropout: float) -> Numbers:
    """Count the bytes that a layer's operations move forward and backward, and those that it keeps between."""
    from headway.engines.tuning.lorafusion_traffic import kept_bytes, traffic_of

    ways = _ways(seed, tokens, width, dropout, "cpu")
    return {
        who: {"moved_bytes": traffic_of(ways.both[who]), "kept_bytes": kept_bytes(ways.forward[who], ways.inputs)}
        for who in ways.both
    }


def _ways(seed: int, tokens: int, width: int, dropout: float, device: str) -> Ways:
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from torch import nn

    from headway.engines.tuning.lorafusion_function import fused_lora

    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(width, width, bias=False)).requires_grad_(False)
    settings = LoraConfig(r=16, lora_alpha=32, target_modules=["0"], lora_dropout=dropout)  # type: ignore[no-untyped-call, unused-ignore]
    layer: Any = inject_adapter_in_model(settings, model).to(device).train()[0]
    a, b, weight = layer.lora_A["default"].weight, layer.lora_B["default"].weight, layer.base_layer.weight
    x = torch.randn(tokens, width, device=device, requires_grad=True)
    dy = torch.randn(tokens, width, device=device)

    def fused() -> Tensor:
        keep = torch.empty(x.shape, dtype=torch.bool, device=device).bernoulli_(1.0 - dropout) if dropout else None
        return fused_lora(x, weight, None, a, b, 2.0, keep=keep, dropout=dropout)

    forward: dict[str, Callable[[], Tensor]] = {"fused": fused, "peft": lambda: layer(x)}
    both = {who: partial(lambda way: torch.autograd.grad(way(), (x, a, b), dy), way) for who, way in forward.items()}
    return Ways(forward, both, (x, weight, a, b))


def _timed(compute: Callable[[], object], device: str) -> Seconds:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    start_s = time.perf_counter()
    compute()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start_s
