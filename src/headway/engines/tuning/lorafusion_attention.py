"""Attention over one row of many examples, each of which attends to itself alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headway.core.errors import ConfigError

NAME = "headway_packed"
"""The name it has among the attention implementations of `transformers`."""

LENGTHS = "headway_lengths"
"""The attribute of an attention module that leads to a list of the lengths of the examples."""


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend as `transformers` asks: `query [1, heads, tokens, dim]` in, `[1, tokens, heads, dim]` out."""
    lengths: list[int] = getattr(module, LENGTHS)
    if softcap or s_aux is not None or (sliding_window and max(lengths) > sliding_window):
        what = "capped scores" if softcap else "attention sinks" if s_aux is not None else "a sliding window"
        raise ConfigError(f"tune: the model must attend plainly to be shared, got {what}. Train adapters one by one.")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    # One call for each example, since a mask over the row would cost its length squared.
    examples = zip(*(torch.split(side, lengths, 2) for side in (query, key, value)), strict=True)
    attend = torch.nn.functional.scaled_dot_product_attention
    pieces = [attend(q, k, v, is_causal=True, scale=scaling) for q, k, v in examples]
    return torch.cat(pieces, 2).transpose(1, 2), None


def register() -> None:
    """Make it known to `transformers`; no mask goes with it."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attention)
