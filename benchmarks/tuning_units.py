"""What training in units costs: tokens per second of the trainer, beside a plain `peft` loop on the same rows.

The plain loop is what everybody writes: padded rows, a mask, all logits, `loss.backward()`. The trainer computes those
microbatches whole, layer by layer, and layer by layer with its activations in blocks of a KV pool: all of them, or only
what enters each layer. Ways take turns, microbatch by microbatch; the medians of the ratios are told.

    python benchmarks/tuning_units.py --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from headway.app.cli.shipped import shipped_folder
from headway.app.tuning.alone import prepare
from headway.engines.tuning.lent import LentMemory
from headway.engines.tuning.spec import TuneSpec
from headway.engines.tuning.trainer import Trainer
from headway.policies.serving.nouns import TuneUnit

EXAMPLES = Path(__file__).parents[1] / "examples" / "tuning" / "conductor.jsonl"


def plain(trainer: Trainer, spec: TuneSpec) -> Callable[[int], None]:
    """A plain loop over the trainer's rows."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base: Any = AutoModelForCausalLM.from_pretrained(spec.model, dtype=torch.float32)
    settings = LoraConfig(r=spec.rank, lora_alpha=int(spec.alpha), target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings(action="ignore"):
        model = get_peft_model(base, settings).train()
    adamw = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-4)
    rows, examples = trainer._course.rows, trainer._examples

    def compute(index: int) -> None:
        of = rows[index]
        ids = torch.zeros(len(of.examples), of.length, dtype=torch.int64)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for row, example in enumerate(of.examples):
            tokens, trained = (torch.from_numpy(part.copy()) for part in examples[example])
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens.long(), 1
            labels[row, : len(tokens)][trained] = tokens.long()[trained]
        loss = model(input_ids=ids, attention_mask=mask, labels=labels, num_items_in_batch=of.batch_trained).loss
        loss.backward()
        if of.updates:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adamw.step()
            adamw.zero_grad()

    return compute


def units(trainer: Trainer, layers: int) -> Callable[[int], None]:
    """The trainer, in units of so many layers."""
    num = trainer.num_layers

    def compute(index: int) -> None:
        for first in range(0, num, layers):
            trainer.run(TuneUnit("j", index, (first, min(num, first + layers)), "forward"))
        for last in range(num, 0, -layers):
            trainer.run(TuneUnit("j", index, (max(0, last - layers), last), "backward"))
        if trainer.plan[index].updates:
            trainer.run(TuneUnit("j", index, (0, num), "update"))
        trainer.news()

    return compute


def lent(spec: TuneSpec) -> Trainer:
    """A trainer whose activations lie in the blocks of a pool like that of the shipped model."""
    heads, block_size, width = 2, 16, 32
    pool = [torch.zeros(6000, heads * block_size * width * 2, dtype=torch.uint8) for _ in range(12)]
    memory = LentMemory(pool)
    trainer = Trainer(spec, memory)
    memory.lend(range(0, 6000, 2))
    print(f"lent: {memory.blocks_for(trainer.saved_bytes)} blocks of {memory.block_bytes} bytes are needed")
    return trainer


def measure(folder: Path, num: int, microbatch_tokens: int) -> dict[str, Any]:
    """Let all ways take turns."""
    specs = {
        name: TuneSpec(
            job="j", name="n", model=str(shipped_folder()), folder=str(folder / name), tokens=str(folder / "tokens"),
            microbatch_tokens=microbatch_tokens, checkpoint_steps=0, batch_size=16, recompute=name == "again",
        )
        for name in ("whole", "layers", "lent", "again")
    }  # fmt: skip
    prepare(EXAMPLES, None, specs["whole"], print)
    whole, layers = Trainer(specs["whole"]), Trainer(specs["layers"])
    ways = {
        "plain": plain(whole, specs["whole"]),
        "whole": units(whole, whole.num_layers),
        "layers": units(layers, 1),
        "lent": units(lent(specs["lent"]), 1),
        "again": units(lent(specs["again"]), 1),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(num):
        for name, compute in ways.items():
            start_s = time.perf_counter()
            compute(index)
            times[name].append(time.perf_counter() - start_s)
    tokens = [microbatch.tokens for microbatch in whole.plan[:num]]
    warm = range(num // 10, num)
    return {
        name: {
            "tokens_per_s": statistics.median(tokens[index] / times[name][index] for index in warm),
            "ratio": statistics.median(times["plain"][index] / times[name][index] for index in warm),
        }
        for name in ways
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--microbatches", type=int, default=100)
    parser.add_argument("--microbatch-tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=0, help="of torch; as it has them if left out")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), args.microbatches, args.microbatch_tokens)
    if args.json:
        print(json.dumps(found))
        return
    for name, row in found.items():
        print(f"{name:8} {row['tokens_per_s']:8,.0f} tokens/s   {row['ratio']:.2f} of the plain loop")


if __name__ == "__main__":
    main()
