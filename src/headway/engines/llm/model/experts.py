"""Experts of a mixture, each over packed weights.

`transformers` keeps the experts of a layer as two stacked weights and marks how they are laid out. The plain layout
gives way to one packed product per expert; others stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from headway.engines.llm.native import Kernels, WeightKind

_PLAIN = {"has_gate": True, "has_bias": False, "has_post_expert_norm": False, "is_transposed": False}


class PackedExperts:
    """Stands in for the `forward` of one layer's experts.

    Parameters
    ----------
    module : nn.Module
        The experts; their weights are taken away.
    kernels : Kernels
        Who packs and multiplies.
    kind : {"float32", "bfloat16", "int8"} or None
        What the weights become; their own type when None.
    """

    def __init__(self, module: Any, kernels: Kernels, kind: WeightKind | None) -> None:
        self._kernels = kernels
        self._apply_gate = module._apply_gate
        self._gate_up = [kernels.pack(weight, kind) for weight in module.gate_up_proj.detach()]
        self._down = [kernels.pack(weight, kind) for weight in module.down_proj.detach()]
        del module.gate_up_proj, module.down_proj
        module.forward = self.forward

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """Map `hidden_states [tokens, hidden]` through the experts `[tokens, k]` chosen for each, and mix by weight."""
        num_tokens, num_chosen = top_k_index.shape
        chosen = top_k_index.reshape(-1)
        order = torch.argsort(chosen, stable=True)
        counts = torch.bincount(chosen, minlength=len(self._down)).tolist()
        outs = hidden_states.new_empty(num_tokens * num_chosen, hidden_states.shape[1])
        begin = 0
        for expert, count in enumerate(counts):
            if count:
                pairs = order[begin : begin + count]
                outs.index_copy_(0, pairs, self._one(expert, hidden_states.index_select(0, pairs // num_chosen)))
                begin += count
        mixed = outs.view(num_tokens, num_chosen, -1) * top_k_weights.unsqueeze(-1)
        return mixed.sum(dim=1).to(hidden_states.dtype)

    def _one(self, expert: int, x: Tensor) -> Tensor:
        inner = self._apply_gate(self._kernels.linear(x, self._gate_up[expert]))
        return self._kernels.linear(inner, self._down[expert])


def pack_experts(model: nn.Module, kernels: Kernels, kind: WeightKind | None) -> None:
    """Pack the experts of every layer of a model that are laid out plainly, one layer after the other."""
    for module in model.modules():
        if all(getattr(module, name, None) is value for name, value in _PLAIN.items()):
            PackedExperts(module, kernels, kind)
