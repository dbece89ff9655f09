"""The two sides of an offloaded fine-tuning and what each does with one layer: the accelerator's and the host's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from headway.core.errors import EngineError
from headway.engines.tuning.lsp_offload_adam import HostAdam
from headway.engines.tuning.lsp_offload_layers import Layered, matrices, small
from headway.engines.tuning.lsp_offload_projector import Pair, SparseProjector, learn
from headway.policies.tuning.lsp_offload_nouns import Begin
from headway.policies.tuning.lsp_offload_plan import is_narrowed

Parcel = dict[str, Tensor]
"""What travels of a layer: tensors by name of the parameter, and new projectors under names of their own."""


class DeviceSide:
    """What runs on the accelerator: passes, projectors, compressing and applying.

    Parameters
    ----------
    model : Layered
        On its device; its layers' weights are changed.
    batches : callable of (step) -> Tensor
        The batch of a step.
    form : Begin
        In which form gradients travel.
    seed : int
        Of the projectors.
    """

    def __init__(self, model: Layered, batches: Callable[[int], Tensor], form: Begin, seed: int = 0) -> None:
        self.model = model
        self.form = form
        self.losses: list[float] = []
        self._batches = batches
        self._dice = torch.Generator().manual_seed(seed)
        self._large = [dict(matrices(layer)) for layer in model.layers]
        self._small = [dict(small(layer)) for layer in model.layers]
        self.pairs = [self._draw(place) for place in range(len(model.layers))]
        self._fresh: set[int] = set()  # layers whose projectors the host does not have yet
        self._kept: list[tuple[Tensor, Tensor]] = []  # input and output of each layer under way
        self._gradient: Tensor | None = None

    def forward(self, layer: int, step: int) -> None:
        """Compute a layer and keep its graph; with the last one, the loss."""
        batch = self._batches(step)
        before = self._kept[-1][1].detach() if layer else self.model.enter(batch)
        read = before.detach().requires_grad_(layer > 0)
        with torch.enable_grad():
            out = self.model.run(layer, read)
            if layer + 1 == len(self.model.layers):
                out = self.model.loss(out, batch)
                self.losses.append(float(out.detach()))
                if not torch.isfinite(out.detach()):
                    raise EngineError(
                        f"lsp-offload: the loss must be finite, got {out} in step {step}. Lower the rate."
                    )
        self._kept.append((read, out))

    def backward(self, layer: int) -> None:
        """Compute the gradients of a layer, and that of what it read."""
        read, out = self._kept.pop()
        torch.autograd.backward(out, self._gradient)
        self._gradient = read.grad if layer else None

    def bias_frac(self, layer: int) -> float:
        """Return the bias of a layer's projectors on the gradients at hand, as a share of these."""
        biases, sizes = [0.0], [0.0]
        for name, pair in self.pairs[layer].items():
            gradient = self.gradient(layer, name)
            biases.append(float(pair.bias(gradient).square().sum()))
            sizes.append(float(gradient.square().sum()))
        return math.sqrt(sum(biases) / sum(sizes)) if sum(sizes) else 0.0

    def learn(self, layer: int) -> float:
        """Draw and learn new projectors for a layer's gradients at hand; returns the bias then."""
        self.pairs[layer] = self._draw(layer)
        for name, pair in self.pairs[layer].items():
            learn(
                pair,
                self.gradient(layer, name),
                alpha=self.form.alpha,
                num_steps=self.form.learn_steps,
                beta=self.form.beta,
            )
        self._fresh.add(layer)
        return self.bias_frac(layer)

    def compress(self, layer: int) -> Parcel:
        """Return what is to be sent of a layer, and let go of its gradients."""
        parcel = {}
        for name, parameter in {**self._large[layer], **self._small[layer]}.items():
            pair = self.pairs[layer].get(name)
            gradient = self.gradient(layer, name)
            parcel[name] = pair.compress(gradient) if pair else gradient
            parameter.grad = None
        if layer in self._fresh:
            self._fresh.discard(layer)
            parcel |= packed(self.pairs[layer])
        return parcel

    def apply(self, layer: int, parcel: Mapping[str, Tensor]) -> None:
        """Subtract the updates of a layer from its weights."""
        parameters = {**self._large[layer], **self._small[layer]}
        with torch.no_grad():
            for name, change in parcel.items():
                pair = self.pairs[layer].get(name)
                parameters[name].sub_(pair.decompress(change) if pair else change)

    def gradient(self, layer: int, name: str) -> Tensor:
        """Return the gradient at hand of a parameter of a layer."""
        parameter = self._large[layer].get(name)
        found = (self._small[layer][name] if parameter is None else parameter).grad
        if found is None:
            raise EngineError(f"lsp-offload: every trained weight must get a gradient, {name} got none. Freeze it.")
        return found

    @property
    def num_projector_bytes(self) -> int:
        """What the projectors occupy."""
        return sum(pair.num_bytes for pairs in self.pairs for pair in pairs.values())

    def _draw(self, layer: int) -> dict[str, Pair]:
        form = self.form
        return {
            name: Pair.random(weight.detach(), form.width, form.nonzeros, self._dice)
            for name, weight in self._large[layer].items()
            if is_narrowed((weight.shape[0], weight.shape[1]), form.width)
        }


class HostSide:
    """What runs on the host: Adam in whatever shape gradients arrive, with the projectors that carry it over.

    Parameters
    ----------
    adam : HostAdam
        Keeps the moments.
    """

    def __init__(self, adam: HostAdam) -> None:
        self.adam = adam
        self._pairs: dict[tuple[int, str], Pair] = {}

    def update(self, layer: int, step: int, parcel: Mapping[str, Tensor]) -> Parcel:
        """Return the updates for the gradients of a layer; new projectors among them are taken in first."""
        for name, pair in unpacked(parcel).items():
            old = self._pairs.get((layer, name))
            if old is not None:
                self.adam.carry(f"{layer}.{name}", old, pair)
            self._pairs[layer, name] = pair
        gradients = {name: one for name, one in parcel.items() if "/" not in name}
        return {name: self.adam.update(f"{layer}.{name}", one, step) for name, one in gradients.items()}


SIDES = ("left", "right")


def packed(pairs: Mapping[str, Pair]) -> Parcel:
    """Return projectors as tensors that can be sent; places in 4 bytes."""
    found: Parcel = {}
    for name, pair in pairs.items():
        for side in SIDES:
            one: SparseProjector = getattr(pair, side)
            found[f"{name}/{side}/places"] = one.places.to(torch.int32)
            found[f"{name}/{side}/values"] = one.values
    return found


def unpacked(parcel: Mapping[str, Tensor]) -> dict[str, Pair]:
    """Return the projectors in a parcel; their width is that of the square that came with them."""
    names = [key.removesuffix("/left/places") for key in parcel if key.endswith("/left/places")]
    found = {}
    for name in names:
        width = parcel[name].shape[0]
        left, right = (
            SparseProjector(parcel[f"{name}/{side}/places"].long(), parcel[f"{name}/{side}/values"], width)
            for side in SIDES
        )
        found[name] = Pair(left, right)
    return found
