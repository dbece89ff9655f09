"""The model of the race: random weights, a real tokenizer, steps as long as those of a large model on a GPU."""

from __future__ import annotations

from pathlib import Path

from fidelity.stand_in import SHAPE, checkpoint

CONTEXT_TOKENS = 6144
MAX_SEQS = 64
BLOCK_TOKENS = 32
"""The least that vLLM's attention for CPUs likes; a quarter of its default, for prompts are an eighth as long."""
FLAGS = (
    "--served-model-name", "race", "--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", str(MAX_SEQS),
    "--block-size", str(BLOCK_TOKENS), "--dtype", "bfloat16", "--seed", "0",
)  # fmt: skip


def folder() -> Path:
    """Return the checkpoint, written at the first time."""
    return checkpoint()


def facts() -> dict[str, object]:
    """Say which model it is."""
    return {"shape": SHAPE, "weights": 62_000_000, "context_tokens": CONTEXT_TOKENS, "flags": list(FLAGS)}
