"""Train the toy bases between which `headway reproduce tuning/trans-lora` moves adapters.

    python tools/model/trans_lora_bases.py small large other --out src/headway/engines/tuning/shipped/trans-lora

`small` and `large` have one tokenizer, `other` has tokens for doubled letters, too, and its ids in another order. A few
minutes each on one core. Half of a step are lists of lines, half are operations; see
`headway.engines.tuning.trans_lora_toys` for what these are.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from headway.engines.tuning.trans_lora_toys import LETTERS, MARKERS, OPERATIONS, Family, operate, word

END, PAD = "<end>", "<pad>"
LIST_LINES, LIST_TOKENS, NUM_LISTS, NUM_OPERATIONS = 11, 64, 24, 192


@dataclass(frozen=True)
class Shape:
    """One base: its size, how long and how fast it learns, and whether its tokenizer is the other one."""

    num_layers: int
    hidden: int
    steps: int
    learning_rate: float
    is_other: bool = False


SHAPES = {
    "small": Shape(2, 64, 350, 5e-3),
    "large": Shape(3, 96, 1200, 4e-3),
    "other": Shape(3, 96, 1200, 4e-3, is_other=True),
}


def tokenizer_of(shape: Shape) -> PreTrainedTokenizerFast:
    """Make a tokenizer of single characters, or the other one."""
    signs = ["\n", "=", "?", "y", "n", *LETTERS, *MARKERS, *OPERATIONS]
    doubled = [2 * letter for letter in LETTERS] if shape.is_other else []
    words = [PAD, END, *(doubled + signs[::-1] if shape.is_other else signs)]
    merges = [(letter, letter) for letter in LETTERS] if shape.is_other else []
    raw = Tokenizer(models.BPE(vocab={text: place for place, text in enumerate(words)}, merges=merges))
    raw.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=END, pad_token=PAD)


def model_of(shape: Shape, num_words: int) -> LlamaForCausalLM:
    """Make the untrained model."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=num_words,
            hidden_size=shape.hidden,
            intermediate_size=160 if shape.hidden == 64 else 256,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
        )
    )


def list_of_lines(rng: np.random.Generator) -> str:
    """Write lines of one family."""
    return "".join(line + "\n" for line in Family(rng).lines(rng, LIST_LINES))


def operation(rng: np.random.Generator) -> str:
    """Write an operation named by a capital; or any one after a marker; or a question that nobody can answer."""
    letters, kind = word(rng), rng.random()
    marker, name = str(rng.choice(list(MARKERS))), str(rng.choice(list(OPERATIONS)))
    if kind >= 0.9:
        return f"{marker}{letters}?{rng.choice(['y', 'n'])}{END}"
    return f"{name if kind < 0.55 else marker}{letters}={operate(name, letters)}{END}"


def loss_of(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: list[str], longest: int
) -> torch.Tensor:
    """Mean loss per token of texts."""
    rows = [tokenizer.encode(text)[:longest] for text in texts]
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
    labels = ids.masked_fill(ids == 0, -100)
    return model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss


def train(name: str, out: Path) -> None:
    """Train one base and save it in half precision."""
    shape = SHAPES[name]
    tokenizer = tokenizer_of(shape)
    model, rng, began_s = model_of(shape, len(tokenizer)), np.random.default_rng(0), time.perf_counter()
    optimizer = torch.optim.AdamW(model.parameters(), lr=shape.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, shape.learning_rate, total_steps=shape.steps, pct_start=0.05)
    for step in range(1, shape.steps + 1):
        lists = loss_of(model, tokenizer, [list_of_lines(rng) for _ in range(NUM_LISTS)], LIST_TOKENS)
        done = loss_of(model, tokenizer, [operation(rng) for _ in range(NUM_OPERATIONS)], LIST_TOKENS)
        optimizer.zero_grad()
        (lists + done).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        if step % 100 == 0:
            spent_s = time.perf_counter() - began_s
            print(f"{name} {step}: lists {lists.item():.3f} operations {done.item():.3f} {spent_s:.0f} s", flush=True)
    model.half().save_pretrained(out / name)
    tokenizer.save_pretrained(out / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=SHAPES)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for each in given.names:
        train(each, given.out)
