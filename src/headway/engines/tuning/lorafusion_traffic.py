"""Counts the bytes that operations read and write: what a device would move if each went through memory once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_SILENT = {"aten::empty", "aten::empty_like", "aten::empty_strided", "aten::detach", "aten::lift_fresh"}
"""Operations that touch no values."""


class Traffic(TorchDispatchMode):
    """Sums the sizes of what every operation reads and writes while it is active; views count nothing.

    Attributes
    ----------
    num_bytes : int
        The sum.
    num_operations : int
        How many operations there were.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.num_bytes: int = 0
        self.num_operations: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute an operation and count it."""
        out = func(*args, **(kwargs or {}))
        if not func.is_view and func._schema.name not in _SILENT:
            read = list(_tensors([*args, *(kwargs or {}).values()]))
            self.num_bytes += _bytes(read) + _bytes(_tensors([out]))
            self.num_operations += 1
        return out


def traffic_of(compute: Callable[[], object]) -> int:
    """Return the bytes that the operations of a function read and write, those of backward passes included."""
    traffic = Traffic()
    with traffic:
        compute()
    return traffic.num_bytes


def kept_bytes(compute: Callable[[], object], known: Iterable[Tensor]) -> int:
    """Return the bytes that a forward pass keeps for its backward pass, beyond tensors that are there anyway."""
    places = {tensor.untyped_storage().data_ptr() for tensor in known}
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in places:
            kept[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        held = compute()
    found = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del held
    return found


def _tensors(values: Iterable[Any]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
