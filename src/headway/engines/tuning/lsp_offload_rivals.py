"""Trainings in memory to hold LSP-Offload against: Adam on all weights, LoRA, and GaLore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import missing_extra
from headway.engines.tuning.lsp_offload_adam import HostAdam
from headway.engines.tuning.lsp_offload_layers import DecoderLayers, Layered, matrices, plain_loss, small

Batches = Callable[[int], Tensor]


def train_in_memory(model: Layered, batches: Batches, *, num_steps: int, learning_rate: float) -> list[float]:
    """Train all weights of the layers with `torch.optim.Adam`; returns the loss of each step, before its update.

    The rate falls linearly to 0, as in `headway.engines.tuning.lsp_offload.OffloadEngine`.
    """
    weights = [one for layer in model.layers for one in layer.parameters() if one.requires_grad]
    return _adam_loop(model, batches, weights, num_steps, learning_rate)


def train_lora(
    model: Any, batches: Batches, *, num_steps: int, learning_rate: float, rank: int, seed: int = 0
) -> tuple[list[float], int]:
    """Train LoRA adapters on every matrix of the layers; returns losses, and bytes of adapters, gradients and moments.

    Parameters
    ----------
    model : module
        A decoder of `transformers`; it is changed (`peft` puts adapters into it).
    batches : callable of (step) -> Tensor
        `[examples, tokens]`.
    num_steps, learning_rate, rank, seed
        Alpha is twice the rank; the rate falls linearly to 0.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise missing_extra("peft", "serve", "to train LoRA adapters") from error
    torch.manual_seed(seed)
    targets = sorted({name.removesuffix(".weight") for name in matrices(model.model.layers[0])})
    names = sorted({name.rpartition(".")[2] for name in targets})
    layered = DecoderLayers(model)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, lora_dropout=0.0), model)
    weights = [one for layer in layered.layers for one in layer.parameters() if one.requires_grad]
    num_bytes = 4 * sum(one.numel() * one.element_size() for one in weights)
    return _adam_loop(layered, batches, weights, num_steps, learning_rate), num_bytes


class GaLore:
    """Adam in a subspace of rank k of each gradient's shorter side, found anew by singular values every so many steps.

    Parameters
    ----------
    model : Layered
        What is trained.
    rank : int
        Rank k, >= 1.
    learning_rate : float
        At the start, > 0; it falls linearly to 0 within `num_steps`.
    num_steps : int
        Optimizer steps, >= 1.
    every_steps : int
        Steps between two subspaces, >= 1; 200.
    scale : float
        What updates of matrices are multiplied with, > 0; 0.25. Others are updated plainly.

    Notes
    -----
    Source: Zhao et al., "GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection", ICML 2024, arXiv
    2403.03507, algorithm 2, from memory; a baseline.
    """

    def __init__(
        self,
        model: Layered,
        *,
        rank: int,
        learning_rate: float,
        num_steps: int,
        every_steps: int = 200,
        scale: float = 0.25,
    ) -> None:
        self.model = model
        self.rank = rank
        self.every_steps = every_steps
        self.scale = scale
        self.num_steps = num_steps
        self.adam = HostAdam(learning_rate, num_steps=num_steps)
        self._bases: dict[str, Tensor] = {}

    def train(self, batches: Batches) -> list[float]:
        """Train to the end; returns the loss of each step, before its update."""
        losses = []
        for step in range(self.num_steps):
            loss = plain_loss(self.model, batches(step))
            torch.autograd.backward(loss)
            losses.append(float(loss.detach()))
            with torch.no_grad():
                for place, layer in enumerate(self.model.layers):
                    self._update(place, layer, step)
        return losses

    @property
    def num_bytes(self) -> int:
        """What bases and moments occupy."""
        return self.adam.num_bytes + sum(one.numel() * one.element_size() for one in self._bases.values())

    def _update(self, place: int, layer: nn.Module, step: int) -> None:
        for name, weight in matrices(layer).items():
            if weight.grad is not None:
                weight.sub_(self._in_subspace(f"{place}.{name}", weight.grad, step))
            weight.grad = None
        for name, weight in small(layer).items():
            if weight.grad is not None:
                weight.sub_(self.adam.update(f"{place}.{name}", weight.grad, step))
            weight.grad = None

    def _in_subspace(self, name: str, gradient: Tensor, step: int) -> Tensor:
        is_tall = gradient.shape[0] > gradient.shape[1]
        flat = gradient.T if is_tall else gradient
        if step % self.every_steps == 0:
            self._bases[name] = torch.linalg.svd(flat, full_matrices=False)[0][:, : self.rank].contiguous()
        base = self._bases[name]
        change = self.scale * base @ self.adam.update(name, base.T @ flat, step)
        return change.T if is_tall else change


def _adam_loop(
    model: Layered, batches: Batches, weights: Sequence[nn.Parameter], num_steps: int, learning_rate: float
) -> list[float]:
    optimizer, losses = torch.optim.Adam(weights, lr=learning_rate), []
    for step in range(num_steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / num_steps)
        optimizer.zero_grad()
        loss = plain_loss(model, batches(step))
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
