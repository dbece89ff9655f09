"""Drive a runner by hand: sequences with blocks of their own, stepped in whatever way a test likes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headway.engines.llm.config import EngineConfig
from headway.engines.llm.model.rows import Row
from headway.engines.llm.model.runner import Runner

BLOCK_SIZE = 8


def make_runner(folder: Path, **changes: Any) -> Runner:
    """Load a tiny checkpoint in float32 with a small KV pool, on the torch kernels unless told otherwise."""
    settings: dict[str, Any] = {"dtype": "float32", "kv_bytes": 1 << 21, "block_size": BLOCK_SIZE, "max_seqs": 2}
    return Runner(EngineConfig(model=str(folder), **settings | {"native": False} | changes))


class Track:
    """One sequence on a runner, and the logits it was given by position.

    Parameters
    ----------
    runner : Runner
        Who computes.
    tokens : sequence of int
        All its tokens, prompt and output (teacher-forced).
    blocks : sequence of int
        Where its keys and values go.
    adapter : str
        What it runs with.
    """

    def __init__(self, runner: Runner, tokens: Sequence[int], blocks: Sequence[int], adapter: str = "") -> None:
        self.runner = runner
        self.tokens = list(tokens)
        self.computed = 0
        self.logits: dict[int, Tensor] = {}
        self.slot = runner.open(list(tokens), adapter)
        runner.set_blocks(self.slot, list(blocks))

    def piece(self, tokens: int, layers: tuple[int, int] | None = None) -> Row:
        """Describe its next piece."""
        return Row(self.slot, self.computed, tokens, layers, self._ends(layers))

    def close(self) -> None:
        """Give its slot back."""
        self.runner.close(self.slot)

    def _ends(self, layers: tuple[int, int] | None) -> bool:
        return layers is None or layers[1] == self.runner.facts.num_layers


def step(runner: Runner, *recipe: tuple[Track, int] | tuple[Track, int, tuple[int, int]]) -> None:
    """Run one step of several sequences and note what came out."""
    rows = [seq.piece(tokens, *layers) for seq, tokens, *layers in recipe]
    logits = runner.run(rows)
    given = iter(logits if logits is not None else ())
    for (seq, tokens, *_), row in zip(recipe, rows, strict=True):
        if row.sample:
            seq.computed += tokens
            seq.logits[seq.computed - 1] = next(given)
    assert next(given, None) is None


def random_tokens(length: int, seed: int, vocab_size: int = 300) -> list[int]:
    """Draw some tokens."""
    generator = torch.Generator().manual_seed(seed)
    drawn: list[int] = torch.randint(3, vocab_size, (length,), generator=generator).tolist()
    return drawn


def own_logits(model: Any, tokens: Sequence[int]) -> Tensor:
    """Logits after every token, `[tokens, vocab]`, as `transformers` computes them in one go."""
    with torch.no_grad():
        logits: Tensor = model(input_ids=torch.tensor([list(tokens)]), use_cache=False).logits[0]
    return logits


def assert_same(seq: Track, expected: Tensor, atol: float = 1e-4) -> None:
    """Check every noted logit against the expected `[tokens, vocab]`, and the choice where it is not a near tie."""
    assert seq.logits
    for position, ours in seq.logits.items():
        theirs = expected[position]
        torch.testing.assert_close(ours, theirs, atol=atol, rtol=1e-4)
        best, second = theirs.topk(2).values.tolist()
        if best - second > 1e-3:
            assert int(ours.argmax()) == int(theirs.argmax())


def greedy(
    runner: Runner, prompt: Sequence[int], num_tokens: int, blocks: Sequence[int], forbidden: Sequence[int] = ()
) -> list[int]:
    """Continue a prompt with the likeliest token, one sequence alone, the prompt in one piece."""
    slot = runner.open(list(prompt))
    runner.set_blocks(slot, list(blocks))
    start, tokens, given = 0, len(prompt), list[int]()
    while len(given) < num_tokens:
        logits = runner.run([Row(slot, start, tokens)])
        assert logits is not None
        start, tokens = start + tokens, 1
        logits[0, list(forbidden)] = -torch.inf
        given.append(int(logits[0].argmax()))
        runner.append([slot], [given[-1]])
    runner.close(slot)
    return given
