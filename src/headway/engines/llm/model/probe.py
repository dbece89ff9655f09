"""Checks made while a model loads: that it computes, with our parts plugged in, what it computed before.

A wrong answer is worse than none. An architecture whose attention is not what the interface of `transformers` suggests
is found here, before it serves anybody; so is a decoder layer that looks like one the fused kernel can run, but is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headway.engines.llm.model.layout import build_step
from headway.engines.llm.model.rows import Columns
from headway.engines.llm.model.slots import SlotTable
from headway.engines.llm.model.step import Segment, StepBatch, under_way

if TYPE_CHECKING:
    from headway.engines.llm.model.fused import FusedLayers

MAX_TOKENS = 48
LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.3, torch.float16: 0.1}
"""How far logits may be apart, as a share of their size; an attention that means something else gives about 1."""

LAYER_LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.05, torch.float16: 0.02}
"""The same for what one layer adds to its input."""


class Probe:
    """A short random sequence, cut into two chunks as a scheduler would.

    Parameters
    ----------
    vocab_size : int
        Tokens are drawn below it.
    room_tokens : int
        The longest it may be (the context, or all of the KV pool), >= 1.
    block_size : int
        Tokens per block; it uses the first blocks of the pool.
    num_layers : int
        Layers of the model.
    """

    def __init__(self, vocab_size: int, room_tokens: int, block_size: int, num_layers: int) -> None:
        self._length = min(MAX_TOKENS, room_tokens)
        self._table = SlotTable(1, self._length, block_size)
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(0, vocab_size, (self._length,), generator=generator)
        self._num_layers = num_layers
        self._table.open(self.tokens.tolist())
        self._table.set_blocks(0, range(-(-self._length // block_size)))

    def steps(self) -> list[StepBatch]:
        """Return the steps that compute it: its first third, then the rest; a very short one all at once."""
        cut = self._length // 3
        ranges = [(0, cut), (cut, self._length)] if cut else [(0, self._length)]
        return [
            build_step(self._table, Columns([0], [begin], [end - begin]), self._num_layers) for begin, end in ranges
        ]


def own_logits(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return the logits after the last of `tokens [tokens]` as `transformers` computes them: `[1, vocab]`."""
    with torch.no_grad():
        logits: Tensor = model(input_ids=tokens.unsqueeze(0), use_cache=False).logits
    return logits[0, -1:].float()


def logits_apart(ours: Tensor, theirs: Tensor) -> float:
    """How far two sets of logits are apart, as a share of their size; what is not a number is infinitely far."""
    apart = (ours - theirs).norm() / (theirs - theirs.mean()).norm()
    return float(apart) if torch.isfinite(apart) else float("inf")


def layers_apart(
    layers: list[nn.Module], run: Callable[[StepBatch], object], steps: list[StepBatch], fused: FusedLayers
) -> float:
    """Run `steps` through the model's own layers, and each layer's input through the fused kernel too.

    Returns
    -------
    float
        The largest distance of any layer, as a share of what the layer adds to its input.
    """
    worst = 0.0
    for step in steps:
        passed = _watch(layers, run, step)
        for index, (before, after) in enumerate(passed):
            segment = step.segments[0]
            alone = Segment(index, index + 1, None, segment.batch, [])
            with torch.no_grad(), under_way(step):
                ours = fused.through(alone, step.positions, before.clone())
            apart = (ours.float() - after.float()).norm() / (after.float() - before.float()).norm()
            worst = max(worst, float(apart) if torch.isfinite(apart) else float("inf"))
    return worst


def _watch(layers: list[nn.Module], run: Callable[[StepBatch], object], step: StepBatch) -> list[tuple[Tensor, Tensor]]:
    """Run a step and note what went into each layer and what came out: `[tokens, width]` each."""
    passed: list[tuple[Tensor, Tensor]] = []

    def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        before = args[0] if args else kwargs["hidden_states"]
        after = out[0] if isinstance(out, tuple) else out
        passed.append((before[0].clone(), after[0].clone()))

    hooks = [layer.register_forward_hook(note, with_kwargs=True) for layer in layers]
    try:
        run(step)
    finally:
        for hook in hooks:
            hook.remove()
    return passed
