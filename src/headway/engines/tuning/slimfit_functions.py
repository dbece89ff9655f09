"""Layers as functions whose backward pass needs as little kept as what is frozen allows.

All of them keep what they keep with `save_for_backward`, so that hooks on saved tensors see every byte of it.
Weights are kept by reference.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from headway.engines.tuning.slimfit_fixed import GELU_INPUT, OPERAND

LARGE_FRAC = 0.1
"""The share of its output, largest first, that a frozen LayerNorm keeps in the paper."""


class SlimLinear(Function):
    """A linear layer that keeps its input only while its weight is trained, in eight bits when told so."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, in_bytes: bool) -> Tensor:  # noqa: D102
        kept = None
        if ctx.needs_input_grad[1]:
            kept = OPERAND.keep(input) if in_bytes else _alone(input)
        ctx.in_bytes, ctx.shape = in_bytes, input.shape
        ctx.save_for_backward(kept, weight)
        return torch.nn.functional.linear(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        kept, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])
        of_input = gradient.matmul(weight) if ctx.needs_input_grad[0] else None
        of_weight = None
        if kept is not None:
            input = OPERAND.restore(kept, ctx.shape, gradient.dtype) if ctx.in_bytes else kept
            of_weight = rows.t().mm(input.reshape(-1, input.shape[-1]))
        of_bias = rows.sum(0) if ctx.needs_input_grad[2] else None
        return of_input, of_weight, of_bias, None


class SlimLayerNorm(Function):
    """A LayerNorm over the last dimension that keeps, while it is frozen, the largest of its normalised values."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, eps: float, large_frac: float = LARGE_FRAC
    ) -> Tensor:
        mean = input.mean(-1, keepdim=True)
        inverse = input.var(-1, keepdim=True, unbiased=False).add_(eps).rsqrt_()
        normal = (input - mean).mul_(inverse)
        ctx.shape = input.shape
        if ctx.needs_input_grad[1] or large_frac == 1.0:
            ctx.save_for_backward(normal, inverse, weight)
        else:
            values, places = _largest(normal, large_frac)
            ctx.save_for_backward(values, inverse, weight, places)
        return normal * weight if bias is None else torch.addcmul(bias, normal, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        kept, inverse, weight, *places = ctx.saved_tensors
        normal = _spread(kept, places[0], ctx.shape) if places else kept
        above = tuple(range(gradient.dim() - 1))
        of_weight = (gradient * normal).sum(above) if ctx.needs_input_grad[1] else None
        of_bias = gradient.sum(above) if ctx.needs_input_grad[2] else None
        if not ctx.needs_input_grad[0]:
            return None, of_weight, of_bias, None, None
        scaled = gradient * weight
        along = (scaled * normal).mean(-1, keepdim=True)
        of_input = scaled.sub_(scaled.mean(-1, keepdim=True)).addcmul_(normal, along, value=-1).mul_(inverse)
        return of_input, of_weight, of_bias, None, None


class SlimGelu(Function):
    """The exact GELU, its input kept in four bits."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:  # noqa: D102
        ctx.shape = input.shape
        ctx.save_for_backward(GELU_INPUT.keep(input))
        return torch.nn.functional.gelu(input)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: D102
        (kept,) = ctx.saved_tensors
        input = GELU_INPUT.restore(kept, ctx.shape, gradient.dtype)
        density = torch.exp(-0.5 * input * input) / math.sqrt(2 * math.pi)
        below = 0.5 * (1 + torch.erf(input / math.sqrt(2)))
        return gradient * (below + input * density)


class SlimDropout(Function):
    """Dropout that keeps one byte per number, on any device."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, dropped_frac: float) -> Tensor:  # noqa: D102
        stays = torch.rand_like(input) >= dropped_frac
        ctx.scale = 1.0 / (1.0 - dropped_frac)
        ctx.save_for_backward(stays)
        return (input * stays).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        (stays,) = ctx.saved_tensors
        return (gradient * stays).mul_(ctx.scale), None


def _alone(values: Tensor) -> Tensor:
    """Return numbers that hold on to no more memory than their own."""
    held = values.untyped_storage().nbytes()
    return values if held <= values.numel() * values.element_size() else values.clone()


def _largest(values: Tensor, frac: float) -> tuple[Tensor, Tensor]:
    """Return the share of numbers that are largest, whatever their sign, and their places."""
    flat = values.reshape(-1)
    places = flat.abs().topk(int(frac * flat.numel()), sorted=False).indices
    return flat[places], places.to(torch.int32 if flat.numel() < 2**31 else torch.int64)


def _spread(values: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
    """Return numbers at their places, among zeros."""
    return values.new_zeros(shape.numel()).scatter_(0, places.to(torch.int64), values).view(shape)
