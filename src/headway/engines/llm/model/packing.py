"""Pack the linears of a model: every `nn.Linear` gives way to a `PackedLinear`, and its own weight is freed.

Linears that read the same input (q, k and v; gate and up) share one packed weight: the first to be called computes the
product for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headway.core.errors import ConfigError
from headway.engines.llm.model.experts import pack_experts
from headway.engines.llm.model.linears import PackedLinear, PackedProduct

if TYPE_CHECKING:
    from headway.engines.llm.native import Kernels, WeightKind

SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names under which linears of one module read the same input."""


def head_of(model: Any) -> nn.Linear:
    """Return the output layer of a model.

    Raises
    ------
    ConfigError
        When it has none that is linear.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ConfigError(
            f"model {model.name_or_path}: must have a linear output layer, got {type(head).__name__}. Choose another."
        )
    return head


def pack_model(model: Any, kernels: Kernels, kind: WeightKind | None) -> None:
    """Pack every linear and every expert of a model, the output layer included, one after the other.

    Parameters
    ----------
    model : PreTrainedModel
        Changed in place.
    kernels : Kernels
        Who packs and multiplies.
    kind : {"float32", "bfloat16", "int8"} or None
        What the weights become; their own type when None.
    """
    head = head_of(model)
    product = _product([head], kernels, kind, torch.float32)
    packed = PackedLinear(product, 0, head.out_features, head.in_features)
    packed.sees_sampled = True
    model.set_output_embeddings(packed)
    # Linears are left out of the list of parents: it would keep their weights alive.
    for parent in [module for module in model.modules() if not _is_linear(module)]:
        _pack_children(parent, kernels, kind)
    pack_experts(model, kernels, kind)
    _let_go_of_the_file(model)


def _let_go_of_the_file(model: nn.Module) -> None:
    """Copy what is left unpacked: a single view of the mapped checkpoint would keep all of it in memory."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def _pack_children(parent: nn.Module, kernels: Kernels, kind: WeightKind | None) -> None:
    for names in SIBLINGS:
        found = [getattr(parent, name, None) for name in names]
        if all(_is_linear(linear) for linear in found) and _alike(found):
            _replace(parent, names, kernels, kind)
    for name in [name for name, child in parent.named_children() if _is_linear(child)]:
        _replace(parent, (name,), kernels, kind)


def _is_linear(module: object) -> bool:
    from transformers.pytorch_utils import Conv1D

    # Only the class itself: a subclass may do more than multiply (quantised weights, say).
    return type(module) in (nn.Linear, Conv1D)


def _alike(linears: Sequence[Any]) -> bool:
    return len({(_weight(linear).shape[1], linear.bias is None) for linear in linears}) == 1


def _weight(linear: Any) -> Tensor:
    """Return the weight of a linear as `[outputs, inputs]`; GPT-2 keeps it the other way round."""
    weight: Tensor = linear.weight.detach()
    return weight if isinstance(linear, nn.Linear) else weight.t().contiguous()


def _replace(parent: nn.Module, names: Sequence[str], kernels: Kernels, kind: WeightKind | None) -> None:
    linears = [getattr(parent, name) for name in names]
    product = _product(linears, kernels, kind)
    begin = 0
    for name, linear in zip(names, linears, strict=True):
        num_outputs, num_inputs = _weight(linear).shape
        setattr(parent, name, PackedLinear(product, begin, begin + num_outputs, num_inputs))
        begin += num_outputs


def _product(
    linears: Sequence[Any], kernels: Kernels, kind: WeightKind | None, out_dtype: torch.dtype | None = None
) -> PackedProduct:
    weights = [_weight(linear) for linear in linears]
    biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
    packed = kernels.pack(weights[0] if len(weights) == 1 else torch.cat(weights), kind)
    return PackedProduct(kernels, packed, torch.cat(biases) if biases else None, out_dtype)
