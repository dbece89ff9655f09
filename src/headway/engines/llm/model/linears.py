"""Linear layers over packed weights, with LoRA adapters per token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from headway.core.errors import EngineError
from headway.engines.llm.model.step import Group, current

if TYPE_CHECKING:
    from headway.engines.llm.native import Kernels, Packed


class LoraWeights:
    """One adapter's share in one linear, packed: `a [rank, inputs]` and `b [outputs, rank]`, scaling included."""

    __slots__ = ("_a", "_b", "_kernels")

    def __init__(self, kernels: Kernels, a: Tensor, b: Tensor) -> None:
        self._kernels = kernels
        self._a = kernels.pack(a)
        self._b = kernels.pack(b)

    def of(self, x: Tensor) -> Tensor:
        """Return what the adapter makes of `x [tokens, inputs]`: `[tokens, outputs]`."""
        return self._kernels.linear(self._kernels.linear(x, self._a), self._b)


def add_adapters(out: Tensor, x: Tensor, adapters: dict[int, LoraWeights], groups: Sequence[Group]) -> None:
    """Add to `out [1, tokens, outputs]` what adapters make of those tokens of `x [1, tokens, inputs]` that use them."""
    rows, sums = x.reshape(-1, x.shape[-1]), out.view(-1, out.shape[-1])
    for group in groups:
        lora = adapters.get(group.adapter)
        if lora is None:
            continue
        if len(group.tokens) == len(rows):
            sums.add_(lora.of(rows))
            continue
        if int(group.tokens[-1]) >= len(rows):
            raise EngineError(
                "engine: a LoRA adapter must sit where all tokens pass, but this linear sees only some. Merge it."
            )
        delta = lora.of(rows.index_select(0, group.tokens))
        sums.index_add_(0, group.tokens, delta.to(sums.dtype))


class PackedProduct:
    """A packed weight `[outputs, inputs]` and its bias, remembering the last product so that siblings can share it."""

    __slots__ = ("_last_out", "_last_x", "bias", "kernels", "num_outputs", "out_dtype", "packed")

    def __init__(
        self, kernels: Kernels, packed: Packed, bias: Tensor | None, out_dtype: torch.dtype | None = None
    ) -> None:
        self.kernels = kernels
        self.packed = packed
        self.bias = bias
        self.out_dtype = out_dtype
        self.num_outputs = packed.num_outputs
        self._last_x: Tensor | None = None
        self._last_out: Tensor | None = None

    def all(self, x: Tensor) -> Tensor:
        """Multiply `x [..., inputs]`: `[..., outputs]`."""
        return self.kernels.linear(x, self.packed, self.bias, self.out_dtype)

    def some(self, x: Tensor, begin: int, end: int) -> Tensor:
        """Return columns ``[begin, end)`` of the product, computing it only for the first of several siblings."""
        if x is not self._last_x:
            self._last_x, self._last_out = x, self.all(x)
        out = cast(Tensor, self._last_out)[..., begin:end]
        if end == self.num_outputs:
            self._last_x = self._last_out = None
        return out


class PackedLinear(nn.Module):
    """Stands in for an `nn.Linear`: columns ``[begin, end)`` of a packed product.

    Parameters
    ----------
    product : PackedProduct
        The weight, maybe shared with siblings.
    begin, end : int
        The outputs of this linear.
    in_features : int
        Its inputs.

    Attributes
    ----------
    sees_sampled : bool
        Whether it is the output layer, which sees only the tokens that are sampled.
    adapters : dict of int to LoraWeights
        What each adapter adds here.
    """

    def __init__(self, product: PackedProduct, begin: int, end: int, in_features: int) -> None:
        super().__init__()
        self.product = product
        self.begin = begin
        self.end = end
        self.in_features = in_features
        self.out_features = end - begin
        self.alone = self.out_features == product.num_outputs
        self.sees_sampled = False
        self.adapters: dict[int, LoraWeights] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Map `x [..., in_features]` to `[..., out_features]`."""
        out = self.product.all(x) if self.alone else self.product.some(x, self.begin, self.end)
        if self.adapters:
            step = current()
            groups = step.sampled_groups if self.sees_sampled else step.groups
            if groups:
                add_adapters(out, x, self.adapters, groups)
        return out
