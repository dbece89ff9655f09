"""Linear layers over packed weights, with LoRA adapters per token.

They stand in for `nn.Linear` inside the models of `transformers`, and free the weights they replace. Linears that read
the same input (q, k and v; gate and up) share one packed weight: the first to be called computes the product for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from headway.core.errors import EngineError
from headway.engines.llm.step import Group, current

if TYPE_CHECKING:
    from headway.engines.llm.native import Kernels, Packed
    from headway.engines.llm.native.packed import WeightKind

SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names under which linears of one module read the same input."""


class LoraWeights:
    """One adapter's share in one linear: `a [rank, inputs]` and `b [outputs, rank]`, scaling included."""

    __slots__ = ("a", "b")

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a = a
        self.b = b


def add_adapters(out: Tensor, x: Tensor, adapters: dict[int, LoraWeights], groups: Sequence[Group]) -> None:
    """Add to `out [1, tokens, outputs]` what adapters make of those tokens of `x [1, tokens, inputs]` that use them."""
    rows, sums = x.reshape(-1, x.shape[-1]), out.view(-1, out.shape[-1])
    for group in groups:
        lora = adapters.get(group.adapter)
        if lora is None:
            continue
        if int(group.tokens[-1]) >= len(rows):
            raise EngineError(
                "engine: a LoRA adapter must sit where all tokens pass, but this linear sees some. Merge it."
            )
        picked = rows.index_select(0, group.tokens)
        delta = nn.functional.linear(nn.functional.linear(picked, lora.a), lora.b)
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


class PackedLinear(nn.Module):  # type: ignore[misc]
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


def pack_linears(module: nn.Module, kernels: Kernels, kind: WeightKind | None) -> None:
    """Replace every `nn.Linear` below `module` by a packed one, freeing its weight.

    Parameters
    ----------
    module : nn.Module
        Changed in place.
    kernels : Kernels
        Who packs and multiplies.
    kind : {"float32", "bfloat16", "int8"} or None
        What the weights become; their own type when None.
    """
    for parent in list(module.modules()):
        for names in SIBLINGS:
            found = [getattr(parent, name, None) for name in names]
            if all(_is_linear(linear) for linear in found) and _alike(cast("list[nn.Linear]", found)):
                _replace(parent, names, kernels, kind)
        for name, child in list(parent.named_children()):
            if _is_linear(child):
                _replace(parent, (name,), kernels, kind)


def pack_head(
    linear: nn.Linear, kernels: Kernels, kind: WeightKind | None, out_dtype: torch.dtype | None
) -> PackedLinear:
    """Pack the output layer, which is to answer in `out_dtype`."""
    product = PackedProduct(kernels, kernels.pack(linear.weight.detach(), kind), _joined([linear.bias]), out_dtype)
    head = PackedLinear(product, 0, linear.out_features, linear.in_features)
    head.sees_sampled = True
    return head


def _is_linear(module: object) -> bool:
    # Only the class itself: a subclass may do more than multiply (quantised weights, say).
    return type(module) is nn.Linear


def _alike(linears: Sequence[nn.Linear]) -> bool:
    return len({(linear.in_features, linear.bias is None) for linear in linears}) == 1


def _replace(parent: nn.Module, names: Sequence[str], kernels: Kernels, kind: WeightKind | None) -> None:
    linears: list[nn.Linear] = [getattr(parent, name) for name in names]
    weights = [linear.weight.detach() for linear in linears]
    packed = kernels.pack(weights[0] if len(weights) == 1 else torch.cat(weights), kind)
    product = PackedProduct(kernels, packed, _joined([linear.bias for linear in linears]))
    begin = 0
    for name, linear in zip(names, linears, strict=True):
        setattr(parent, name, PackedLinear(product, begin, begin + linear.out_features, linear.in_features))
        begin += linear.out_features


def _joined(biases: Sequence[Any]) -> Tensor | None:
    present = [bias.detach() for bias in biases if bias is not None]
    return torch.cat(present) if present else None
