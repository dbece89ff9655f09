"""Models as layers that are computed one at a time, forward and backward, as offloading by layers needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.policies.tuning.lsp_offload_nouns import Layer


class Layered(Protocol):
    """A model cut into layers."""

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The layers that are trained, from the first to the last; nothing else is."""

    def enter(self, batch: Tensor) -> Tensor:
        """Return what the first layer reads."""

    def run(self, layer: int, hidden: Tensor) -> Tensor:
        """Compute one layer."""

    def loss(self, hidden: Tensor, batch: Tensor) -> Tensor:
        """Return the mean loss from what the last layer gave."""


class DecoderLayers:
    """A decoder of `transformers` with layers of Llama's shape: embedding, rotary positions, layers, norm and head.

    Embedding, last norm and head are frozen; the next token is predicted everywhere.

    Parameters
    ----------
    model : module
        For example a ``LlamaForCausalLM``.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.layers: Sequence[nn.Module] = list(model.model.layers)
        model.requires_grad_(False)
        for layer in self.layers:
            layer.requires_grad_(True)
        self._rotary: dict[int, tuple[Tensor, Tensor]] = {}

    def enter(self, batch: Tensor) -> Tensor:
        """Return the embedded tokens, `[examples, tokens, hidden]`, of `[examples, tokens]`."""
        embedded: Tensor = self.model.model.embed_tokens(batch)
        return embedded

    def run(self, layer: int, hidden: Tensor) -> Tensor:
        """Compute one layer over `[examples, tokens, hidden]`."""
        found = self.layers[layer](hidden, attention_mask=None, position_embeddings=self._positions(hidden))
        return found if isinstance(found, Tensor) else found[0]

    def loss(self, hidden: Tensor, batch: Tensor) -> Tensor:
        """Return the mean loss of every token but the first."""
        logits = self.model.lm_head(self.model.model.norm(hidden))[:, :-1]
        return functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())

    def _positions(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        num = hidden.shape[1]
        if num not in self._rotary:
            places = torch.arange(num, device=hidden.device)[None]
            self._rotary[num] = self.model.model.rotary_emb(hidden, places)
        return self._rotary[num]


class StackLayers:
    """A stack of modules with a loss of mean squares; batches are `[examples, inputs + outputs]`.

    Parameters
    ----------
    layers : sequence of module
        Each maps `[examples, a]` to `[examples, b]`.
    num_inputs : int
        How many columns of a batch the first layer reads; the others are what should come out.
    """

    def __init__(self, layers: Sequence[nn.Module], num_inputs: int) -> None:
        self.layers = layers
        self.num_inputs = num_inputs

    def enter(self, batch: Tensor) -> Tensor:
        """Return the inputs."""
        return batch[:, : self.num_inputs]

    def run(self, layer: int, hidden: Tensor) -> Tensor:
        """Compute one layer."""
        found: Tensor = self.layers[layer](hidden)
        return found

    def loss(self, hidden: Tensor, batch: Tensor) -> Tensor:
        """Return the mean of squared errors."""
        return functional.mse_loss(hidden, batch[:, self.num_inputs :])


def plain_loss(model: Layered, batch: Tensor) -> Tensor:
    """Return the loss through all layers at once, as training in memory computes it."""
    hidden = model.enter(batch)
    for place in range(len(model.layers)):
        hidden = model.run(place, hidden)
    return model.loss(hidden, batch)


def matrices(layer: nn.Module) -> Mapping[str, nn.Parameter]:
    """Return the weights of a layer that are multiplied with, by name."""
    return {name: one for name, one in layer.named_parameters() if one.requires_grad and one.ndim == 2}


def small(layer: nn.Module) -> Mapping[str, nn.Parameter]:
    """Return the other trained parameters of a layer, by name."""
    return {name: one for name, one in layer.named_parameters() if one.requires_grad and one.ndim != 2}


def facts(layer: nn.Module, forward_s: float, backward_s: float) -> Layer:
    """Return what a scheduler may know of a layer."""
    return Layer(
        matrices=tuple((one.shape[0], one.shape[1]) for one in matrices(layer).values()),
        num_small=sum(one.numel() for one in small(layer).values()),
        forward_s=forward_s,
        backward_s=backward_s,
    )
