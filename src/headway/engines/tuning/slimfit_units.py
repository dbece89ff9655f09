"""What of a live model is frozen as one, and what it keeps for that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from msgspec import Struct
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from headway.core.nouns import Id
from headway.engines.tuning import slimfit_layers
from headway.policies.tuning.slimfit_nouns import FreezingJob, WeightUnit

FLOOR_FRAC = 0.01
"""Weights smaller than this share of their unit's mean size count as that large when changes are divided by them."""
TINY = 1e-6
"""The least that a change is divided by, for units that are all zeros."""


class Unit(Struct):
    """A weight of a live model, with the biases that go with it.

    Parameters
    ----------
    name : str
        Of the weight.
    weight : torch.nn.Parameter
        The weight.
    biases : list of torch.nn.Parameter
        Of the same layer.
    """

    name: str
    weight: nn.Parameter
    biases: list[nn.Parameter] = []


def units_of(model: nn.Module, always: Sequence[str] = ()) -> list[Unit]:
    """Return every weight of more than one dimension and that of every LayerNorm, in the model's order.

    Parameters
    ----------
    model : torch.nn.Module
        Whose weights they are; those that do not require gradients now are left alone.
    always : sequence of str
        With what the names of weights begin that are never frozen, and so are no units.
    """
    norms = (nn.LayerNorm, slimfit_layers.LayerNorm)
    found: dict[str, Unit] = {}
    for name, parameter in model.named_parameters():
        layer, _, leaf = name.rpartition(".")
        is_norm = isinstance(model.get_submodule(layer), norms) and leaf == "weight"
        if name.startswith(tuple(always)) or not parameter.requires_grad:
            continue
        if parameter.dim() > 1 or is_norm:
            found[name] = Unit(name, parameter, [])
        elif (weight := f"{layer}.weight" if layer else "weight") in found:
            found[weight].biases.append(parameter)
    return list(found.values())


def relative_change(new: Tensor, old: Tensor) -> float:
    """Return the mean over all weights of ``|new - old| / |old|``, with a floor under what is divided by."""
    size = old.abs()
    floor = max(FLOOR_FRAC * float(size.mean()), TINY)
    return float((new - old).abs_().div_(size.clamp_(min=floor)).mean())


class SavedBytes:
    """Counts, while it is entered, the bytes that autograd keeps from forward to backward.

    Memory that is kept twice is counted once; parameters are not counted.

    Parameters
    ----------
    parameters : iterable of torch.Tensor
        What is there anyway.
    lets_go : bool
        Whether what would be kept is let go, so that counting takes no memory and there can be no backward pass.
    """

    def __init__(self, parameters: Iterable[Tensor], lets_go: bool = False) -> None:
        self._known = {one.untyped_storage()._cdata for one in parameters}
        self._seen: dict[int, tuple[int, StorageWeakRef]] = {}  # by address, which a reference keeps from being reused
        self._lets_go = lets_go
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda kept: kept)

    @property
    def num_bytes(self) -> int:
        """Bytes kept so far."""
        return sum([num_bytes for num_bytes, _ in self._seen.values()])

    def __enter__(self) -> SavedBytes:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    def _pack(self, kept: Tensor) -> Tensor:
        memory = kept.untyped_storage()
        if memory._cdata not in self._known:
            self._seen[memory._cdata] = memory.nbytes(), StorageWeakRef(memory)  # type: ignore[no-untyped-call]
        return kept.new_empty(0) if self._lets_go else kept.detach()  # an output as it is would hold on to its graph


def job_of(
    model: nn.Module,
    units: Sequence[Unit],
    forward: Callable[[], Tensor],
    *,
    id: Id,
    num_iterations: int,
    freeze_frac: float | None = None,
) -> FreezingJob:
    """Describe fine-tuning a live model, whose layers are slim or plain, from two forward passes.

    Parameters
    ----------
    model : torch.nn.Module
        The model; all its units must be ready to be trained.
    units : sequence of Unit
        Those of the model.
    forward : callable of () -> torch.Tensor
        Computes a loss on inputs as large as they come.
    id : str
        Of the job.
    num_iterations : int
        How many there will be, >= 1.
    freeze_frac : float or None
        As its user wants it, in [0, 1); None leaves it to the policy.
    """
    known = {unit.weight: nth for nth, unit in enumerate(units)}
    found: dict[int, WeightUnit] = {}
    inputs_seen: list[StorageWeakRef] = []  # as long as they are referred to, no other has their address

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        weight = getattr(module, "weight", None)
        if weight in known:
            nth = known[weight]
            found[nth] = _described(units[nth], module, inputs[0])
            inputs_seen.append(StorageWeakRef(inputs[0].untyped_storage()))  # type: ignore[no-untyped-call]

    with _watched(model, look), SavedBytes(model.parameters(), lets_go=True) as saved:
        forward()
    with _frozen(units), SavedBytes(model.parameters(), lets_go=True) as saved_frozen:
        forward()
    described = [found.get(nth, WeightUnit(unit.name, unit.weight.numel(), 0)) for nth, unit in enumerate(units)]
    dynamic = FreezingJob(
        id=id, kind="fine-tuning", arrival_s=0.0, units=tuple(described), num_iterations=1, gradient_bytes=0
    )
    # what others keep as well is no part of what a unit alone adds, and shows only where that unit is frozen
    static = max(
        saved.num_bytes - dynamic.peak_bytes(range(len(units))), saved_frozen.num_bytes - dynamic.peak_bytes(())
    )
    sizes = [p.numel() * p.element_size() for p in model.parameters()]
    in_units = sum([unit.weight.numel() * unit.weight.element_size() for unit in units])
    return FreezingJob(
        id=id,
        kind="fine-tuning",
        arrival_s=0.0,
        units=tuple(described),
        num_iterations=num_iterations,
        resident_bytes=3 * sum(sizes) + (sum(sizes) - in_units),  # weights, two moments; gradients of biases
        static_bytes=max(static, 0),
        freeze_frac=freeze_frac,
        shared_flops=2 * sum([unit.flops for unit in described]),
        gradient_bytes=units[0].weight.element_size(),
    )


def _described(unit: Unit, module: nn.Module, input: Tensor) -> WeightUnit:
    """Say what a unit's layer keeps of an input; plain LayerNorms keep theirs in any case."""
    num_weights, size = unit.weight.numel(), input.element_size()
    if isinstance(module, nn.LayerNorm):
        return WeightUnit(unit.name, num_weights, 0)
    if isinstance(module, slimfit_layers.LayerNorm):
        large = input.numel() * size
        if module.large_frac < 1.0:
            large = int(module.large_frac * input.numel()) * (size + 4)
        return WeightUnit(unit.name, num_weights, input.numel() * size, frozen_bytes=large)
    reads = str(input.untyped_storage()._cdata)
    if isinstance(module, nn.Embedding):
        return WeightUnit(unit.name, num_weights, input.untyped_storage().nbytes(), reads=reads)
    if not isinstance(module, slimfit_layers.Linear | nn.Linear):
        return WeightUnit(unit.name, num_weights, 0)  # what it keeps counts as kept in any case
    flops = 2.0 * input.numel() * unit.weight.shape[0]
    if getattr(module, "in_bytes", False):
        return WeightUnit(unit.name, num_weights, input.numel(), flops=flops)
    return WeightUnit(unit.name, num_weights, input.numel() * size, reads=reads, flops=flops)


@contextmanager
def _frozen(units: Sequence[Unit]) -> Iterator[None]:
    """Have all units frozen, and none of them afterwards."""
    for unit in units:
        unit.weight.requires_grad_(False)
    try:
        yield
    finally:
        for unit in units:
            unit.weight.requires_grad_(True)


@contextmanager
def _watched(model: nn.Module, look: Callable[[nn.Module, tuple[Any, ...]], None]) -> Iterator[None]:
    """Have all layers looked at before they run."""
    hooks = [module.register_forward_pre_hook(look) for module in model.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def placed(batch: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return a batch where the model is."""
    device = next(model.parameters()).device
    return {name: value.to(device) for name, value in batch.items()}
