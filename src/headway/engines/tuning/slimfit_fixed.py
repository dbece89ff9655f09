"""Fixed-point numbers: how activations are kept that no freezing can spare."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fixed:
    """A format of at most eight bits; two numbers of four bits share a byte.

    Parameters
    ----------
    integer_bits, fraction_bits : int
        Before and after the point, >= 0.
    signed : bool
        Whether there is a sign beside them.

    Examples
    --------
    >>> GELU_INPUT.restore(GELU_INPUT.keep(torch.tensor([0.3, -9.0, 9.0])), torch.Size([3]), torch.float32).tolist()
    [0.5, -4.0, 3.5]
    """

    integer_bits: int
    fraction_bits: int
    signed: bool = True

    @property
    def num_bits(self) -> int:
        """Bits of a number."""
        return self.integer_bits + self.fraction_bits + self.signed

    @property
    def least(self) -> int:
        """The smallest number, in units of the last place."""
        return -(1 << (self.integer_bits + self.fraction_bits)) if self.signed else 0

    @property
    def most(self) -> int:
        """The largest number, in units of the last place."""
        return (1 << (self.integer_bits + self.fraction_bits)) - 1

    def keep(self, values: Tensor) -> Tensor:
        """Return numbers of any shape as bytes: of that shape, or flat and half as many where two share one."""
        scaled = values.detach().mul(2.0**self.fraction_bits).round_().clamp_(self.least, self.most)
        if self.num_bits > 4:
            return scaled.to(torch.int8 if self.signed else torch.uint8)
        flat = scaled.sub_(self.least).to(torch.uint8).reshape(-1)
        if flat.numel() % 2:
            flat = torch.cat([flat, flat.new_zeros(1)])
        first, second = flat.view(2, -1).unbind()
        return first * 16 + second  # anew, for in place would hold on to both halves

    def restore(self, kept: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return the numbers that were kept, in the shape and type that they had."""
        if self.num_bits > 4:
            return kept.to(dtype).mul_(2.0**-self.fraction_bits).view(shape)
        flat = torch.cat([kept >> 4, kept & 15])[: shape.numel()]
        return flat.to(dtype).add_(self.least).mul_(2.0**-self.fraction_bits).view(shape)


OPERAND = Fixed(3, 4)
"""Operands of products in attention, and the input of a linear layer that is wider than others."""
GELU_INPUT = Fixed(2, 1)
PROBABILITY = Fixed(0, 8, signed=False)
"""Outputs of softmax; 1 becomes 255/256."""
