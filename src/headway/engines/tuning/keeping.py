"""The forward pass of one layer, kept for its backward pass: the graph by autograd, the tensors in a `Memory`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge, saved_tensors_hooks

from headway.engines.tuning.memory import Memory, OwnMemory


class _Door(torch.autograd.Function):
    """Hidden states come in and their gradient goes out; the graph behind it holds no tensor."""

    @staticmethod
    def forward(_: Any, hidden: Tensor, __: Tensor) -> Tensor:
        """Let hidden states in; the second tensor only lets autograd see a reason to record."""
        return hidden.view_as(hidden)

    @staticmethod
    def backward(_: Any, *__: Any) -> tuple[None, None]:
        """Never called: whoever wants the gradient takes it here."""
        return None, None


class KeptLayer:
    """What one layer's backward pass needs.

    Parameters
    ----------
    memory : Memory
        Where its activations lie.
    exit : GradientEdge
        Where the gradient of its output goes in.
    door : GradientEdge or None
        Where that of its input comes out; None when nobody wants it.
    shelf : Shelf or None
        What it has put into the memory; None where autograd keeps everything itself.
    """

    def __init__(self, exit: GradientEdge, door: GradientEdge | None, shelf: Shelf | None) -> None:
        self._exit: GradientEdge | None = exit
        self._door = door
        self._shelf = shelf

    def backward(self, gradient: Tensor, weights: Sequence[nn.Parameter]) -> tuple[Tensor | None, list[Tensor | None]]:
        """Pass the gradient of the output back, once.

        Parameters
        ----------
        gradient : Tensor
            Of the output, of its shape.
        weights : sequence of nn.Parameter
            Those whose gradients are wanted.

        Returns
        -------
        tuple
            Gradient of the input, or None, and those of the weights; None for one that had no part.
        """
        assert self._exit is not None
        wanted: list[Any] = ([self._door] if self._door else []) + list(weights)
        found: list[Tensor | None] = list(torch.autograd.grad([self._exit], wanted, [gradient], allow_unused=True))
        self._exit = None
        if self._shelf is not None:
            self._shelf.clear()
        first = found.pop(0) if self._door else None
        return first, found


class Shelf:
    """Puts what autograd saves in one layer into a memory, each tensor once, and takes it out again.

    Parameters
    ----------
    memory : Memory
        Where to.
    constants : collection of int
        Addresses of memory that is there anyway, such as that of weights: what lies there is not copied.
    """

    def __init__(self, memory: Memory, constants: Collection[int]) -> None:
        self._memory = memory
        self._constants = constants
        self._handles: list[Any] = []
        self._places: dict[Any, int] = {}
        self._alive: list[Tensor] = []
        self._taken: dict[int, Tensor] = {}

    def pack(self, tensor: Tensor) -> int | Tensor:
        """Keep a tensor; returns its place on the shelf, or the tensor when it is there anyway."""
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor._version)
        place = self._places.get(key)
        if place is None:
            if tensor.untyped_storage().data_ptr() in self._constants:
                return tensor.detach()
            place = self._places[key] = len(self._handles)
            self._alive.append(tensor)  # or its address could become another's
            self._handles.append(self._memory.put(tensor.detach()))
        return place

    def unpack(self, packed: int | Tensor) -> Tensor:
        """Return a tensor that was kept."""
        if isinstance(packed, Tensor):
            return packed
        if packed not in self._taken:
            self._taken[packed] = self._memory.get(self._handles[packed])
        return self._taken[packed]

    def close(self) -> None:
        """Note that the layer has been computed."""
        self._places.clear()
        self._alive.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._taken.clear()
        for handle in self._handles:
            self._memory.free(handle)
        self._handles.clear()


def keep(
    layer: Callable[[Tensor], Tensor], hidden: Tensor, memory: Memory, constants: Collection[int], wants_input: bool
) -> tuple[Tensor, KeptLayer | None]:
    """Compute a layer and keep what its backward pass needs.

    Parameters
    ----------
    layer : callable
        From hidden states to hidden states.
    hidden : Tensor
        Its input; cut off from whatever made it.
    memory, constants : Memory, collection of int
        Where its activations go, and the addresses of what need not.
    wants_input : bool
        Whether the gradient of the input will be asked for.

    Returns
    -------
    tuple
        The output, cut off, and what is kept; None when no gradient passes.
    """
    shelf = None if type(memory) is OwnMemory else Shelf(memory, constants)
    with torch.enable_grad():
        entering: Tensor = _Door.apply(hidden, _reason()) if wants_input else hidden  # type: ignore[no-untyped-call]
        with saved_tensors_hooks(shelf.pack, shelf.unpack) if shelf else nullcontext():
            out = layer(entering)
    if shelf is not None:
        shelf.close()
    if not out.requires_grad:
        return out, None
    door = get_gradient_edge(entering) if wants_input else None
    return out.detach(), KeptLayer(get_gradient_edge(out), door, shelf)


def _reason() -> Tensor:
    return torch.empty(0, requires_grad=True)
