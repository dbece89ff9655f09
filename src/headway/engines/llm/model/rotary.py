"""Rotary embeddings by table: the model's own module is asked once for every position, then looked up.

Models whose frequencies depend on the longest position of a batch (dynamic scaling, LongRoPE) would let one request
change another's angles; in a table every position has one angle, that of the engine's whole context.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

MAX_TABLE_BYTES = 1 << 29
"""Longer tables are not made; the model's own module computes angles at every step then."""


class RotaryTable:
    """Stands in for the `forward` of one rotary module.

    Parameters
    ----------
    module : nn.Module
        Called as ``module(x, position_ids)`` or, where kinds of layers differ, ``module(x, position_ids, layer_type)``.
    context_tokens : int
        Positions ``0 .. context_tokens - 1`` are tabulated.
    """

    def __init__(self, module: nn.Module, context_tokens: int) -> None:
        self._forward = module.forward
        self._by_type = "layer_type" in inspect.signature(module.forward).parameters
        self._context_tokens = context_tokens
        self._tables: dict[str | None, tuple[Tensor, Tensor] | None] = {}
        module.forward = self.forward  # the module stays where model code finds it

    def forward(self, x: Tensor, position_ids: Tensor, layer_type: str | None = None) -> Any:
        """Return cosines and sines `[1, tokens, dim]` of `position_ids [1, tokens]`, as the module would."""
        table = self.table(x, layer_type)
        if table is None:
            return self._ask(x, position_ids, layer_type)
        cos, sin = table
        return cos.index_select(0, position_ids[0]).unsqueeze(0), sin.index_select(0, position_ids[0]).unsqueeze(0)

    def kinds(self, layer_types: Sequence[str] | None, num_layers: int) -> list[str | None]:
        """Say which of the tables each layer turns by, given the kinds of the layers."""
        return list(layer_types) if self._by_type and layer_types else [None] * num_layers

    def table(self, x: Tensor, layer_type: str | None) -> tuple[Tensor, Tensor] | None:
        """Return cosines and sines `[context, dim]` in the type of `x`; None when the module answers something else."""
        if layer_type not in self._tables:
            self._tables[layer_type] = self._fill(x, layer_type)
        return self._tables[layer_type]

    def _fill(self, x: Tensor, layer_type: str | None) -> tuple[Tensor, Tensor] | None:
        positions = torch.arange(self._context_tokens, device=x.device).unsqueeze(0)
        few = self._ask(x, positions[:, :1], layer_type)
        if not _is_pair(few, 1) or 2 * self._context_tokens * few[0].nbytes > MAX_TABLE_BYTES:
            return None
        every = self._ask(x, positions, layer_type)
        return (every[0][0].contiguous(), every[1][0].contiguous()) if _is_pair(every, self._context_tokens) else None

    def _ask(self, x: Tensor, position_ids: Tensor, layer_type: str | None) -> Any:
        return self._forward(x, position_ids) if layer_type is None else self._forward(x, position_ids, layer_type)


def _is_pair(answer: Any, num_tokens: int) -> bool:
    if not (isinstance(answer, tuple) and len(answer) == 2):
        return False
    return all(part.dim() == 3 and part.shape[:2] == (1, num_tokens) and part.is_floating_point() for part in answer)


def tabulate(model: nn.Module, context_tokens: int) -> list[RotaryTable]:
    """Put a table in front of every rotary module of a model."""
    modules = [m for m in model.modules() if type(m).__name__.endswith("RotaryEmbedding")]
    return [RotaryTable(module, context_tokens) for module in modules]
