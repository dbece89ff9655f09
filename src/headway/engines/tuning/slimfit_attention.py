"""Attention that keeps its operands in eight bits, and the output of its softmax once, in as many."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from headway.core.errors import ConfigError
from headway.engines.tuning.slimfit_fixed import OPERAND, PROBABILITY

NAME = "headway_slimfit"
"""Under which models of transformers know it."""


class SlimAttention(Function):
    """Softmax attention over `[batch, heads, positions, head_dim]`; keeps bytes of query, key, value, and softmax."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, dropped_frac: float
    ) -> Tensor:
        scores = query.matmul(key.transpose(-1, -2)).mul_(scale)
        chances = torch.softmax(scores if mask is None else scores.add_(mask), dim=-1)
        del scores
        stays = torch.rand_like(chances) >= dropped_frac if dropped_frac else None
        kept = PROBABILITY.keep(chances)
        ctx.scale, ctx.grown = scale, 1.0 / (1.0 - dropped_frac)
        ctx.save_for_backward(OPERAND.keep(query), OPERAND.keep(key), OPERAND.keep(value), kept, stays)
        return (chances if stays is None else chances.mul_(stays).mul_(ctx.grown)).matmul(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        *operands, kept, stays = ctx.saved_tensors
        query, key, value = (OPERAND.restore(one, one.shape, gradient.dtype) for one in operands)
        chances = PROBABILITY.restore(kept, kept.shape, gradient.dtype)
        weights = chances if stays is None else (chances * stays).mul_(ctx.grown)
        of_value = weights.transpose(-1, -2).matmul(gradient)
        of_chances = gradient.matmul(value.transpose(-1, -2))
        if stays is not None:
            of_chances.mul_(stays).mul_(ctx.grown)
        along = (of_chances * chances).sum(-1, keepdim=True)
        of_scores = of_chances.sub_(along).mul_(chances).mul_(ctx.scale)
        return of_scores.matmul(key), of_scores.transpose(-1, -2).matmul(query), of_value, None, None, None


def attend(
    module: torch.nn.Module,  # noqa: ARG001 - that is how it is called
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attend as models of transformers ask for it.

    Parameters
    ----------
    module : torch.nn.Module
        The layer.
    query, key, value : torch.Tensor
        `[batch, heads, positions, head_dim]`; a key and a value may serve several heads of the query.
    attention_mask : torch.Tensor or None
        Added to the scores.
    scaling : float or None
        Of the scores; one over the root of ``head_dim`` by default.
    dropout : float
        The share of softmax's output that is dropped, in [0, 1).
    **more : object
        What other attentions take.

    Returns
    -------
    (torch.Tensor, None)
        `[batch, positions, heads, head_dim]`.
    """
    if more.get("softcap") is not None or more.get("s_aux") is not None:
        raise ConfigError(
            "slimfit: attention must be plain softmax, got a soft cap or sinks. Fine-tune without slimfit."
        )
    if (per_key := query.shape[1] // key.shape[1]) > 1:
        key, value = key.repeat_interleave(per_key, 1), value.repeat_interleave(per_key, 1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out: Tensor = SlimAttention.apply(query, key, value, attention_mask, scale, dropout)  # type: ignore[no-untyped-call]
    return out.transpose(1, 2).contiguous(), None


def register() -> None:
    """Make it known to transformers; again does no harm."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, eager_mask)
