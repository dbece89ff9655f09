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


def little(seed: int, quick: bool) -> Numbers:
    """The same with global batches of 2 examples."""
    return _training(str(SHIPPED), seed, quick, batch_size=2)


def small(seed: int, quick: bool) -> Numbers:
    """Train four adapters of a random model of 5 million parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=2048, hidden_size=256, intermediate_size=704, num_hidden_layers=6, num_attention_heads=8,
        num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
        return _training(folder, seed, quick)


def _training(model: str, seed: int, quick: bool, batch_size: int = 8) -> Numbers:
    with tempfile.TemporaryDirectory() as folder, alone():
        num_examples = 10 if quick else 16
        race = _Race(model, Path(folder), seed, num_examples, batch_size)
        race.round(race.tokens[:1])  # whatever is done once is done before it counts
        race.took_s.clear()
        for nth in range(1 if quick else 2):
            race.round(race.tokens, backwards=nth % 2 == 1)
    return {
        who: {
            "tokens_per_s": race.num_tokens / statistics.median(took_s),
            "last_loss": statistics.mean(one[-1] for one in race.told[who].values()),
            "agreeing_digits": _agreeing_digits(race.told[who], race.told["trainer"]),
        }
        for who, took_s in sorted(race.took_s.items())
    }


class _Race:
    """Lets contestants train the same adapters again and again, each time from the beginning."""

    def __init__(self, model: str, folder: Path, seed: int, num_examples: int, batch_size: int) -> None:
        self.tokens, self.num_tokens = _examples(folder, seed, num_examples)
        self._batch_size = batch_size
        self.took_s: dict[str, list[Seconds]] = {}
        self.told: dict[str, Told] = {}
        self._model, self._folder, self._seed = model, folder, seed
        self._num_specs = 0
        self._ways: list[tuple[str, Callable[[list[TuneSpec], Told], Seconds], int]] = [
            ("trainer", _apart, MICROBATCH_TOKENS),
            ("trainer-2048", _apart, NUM_ADAPTERS * MICROBATCH_TOKENS),
            ("fused-apart", partial(_joint, policy=OneByOne(samples=0)), MICROBATCH_TOKENS),
            ("lorafusion", partial(_joint, policy=None), MICROBATCH_TOKENS),
        ]

    def round(self, tokens: Sequence[Path], backwards: bool = False) -> None:
        """Let each contestant train an adapter on each of these files."""
        for who, train, microbatch_tokens in reversed(self._ways) if backwards else self._ways:
            told = self.told[who] = {}
            specs = [self._spec(f"job-{nth}", path, microbatch_tokens) for nth, path in enumerate(tokens)]
            self.took_s.setdefault(who, []).append(train(specs, told))

    def _spec(self, job: str, path: Path, microbatch_tokens: int) -> TuneSpec:
        self._num_specs += 1
        return TuneSpec(
            job=job, name=job, model=self._model, tokens=str(path), folder=str(self._folder / f"run-{self._num_specs}"),
            num_epochs=1, batch_size=self._batch_size, seed=self._seed, microbatch_tokens=microbatch_tokens,
            checkpoint_steps=0, learning_rate=2e-3,
        )  # fmt: skip


def _apart(specs: list[TuneSpec], told: Told) -> Seconds:
    """Train one after the other; loading does not count."""
    from headway.engines.tuning.trainer import Trainer

    took_s = 0.0
    for spec in specs:
        trainer, start_s = Trainer(spec), time.perf_counter()
        trainer.train(_keeper(told, spec))
        took_s += time.perf_counter() - start_s
    return took_s


def _joint(specs: list[TuneSpec], told: Told, policy: OneByOne | None) -> Seconds:
    """Train all in one process; loading does not count."""
    from headway.engines.tuning.lorafusion_runs import JointTraining

    joint, start_s = JointTraining(specs, policy=policy), time.perf_counter()
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


def _examples(folder: Path, seed: int, num_examples: int) -> tuple[list[Path], int]:
    """Write examples of four tasks: a text, and then the same words in another order; returns files and tokens."""
    tasks: tuple[Callable[[list[int]], list[int]], ...] = (
        lambda words: words[::-1], sorted, lambda words: words, lambda words: [words[0]] * len(words),
    )  # fmt: skip
    paths, num_tokens = [], 0
    for nth, (mean_tokens, task) in enumerate(zip(MEAN_TOKENS, tasks, strict=True)):
        rng = np.random.default_rng([seed, nth])
        paths.append(folder / f"task-{nth}.safetensors")
        with writing_examples(paths[-1]) as writer:
            for _ in range(num_examples):
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
