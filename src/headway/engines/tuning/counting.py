"""How much memory a microbatch takes between its units, without taking it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.engines.tuning.memory import Memory

if TYPE_CHECKING:
    from torch import Tensor


class CountingMemory:
    """Counts what another memory would have to keep, and keeps nothing.

    Parameters
    ----------
    memory : Memory
        The other one.

    Attributes
    ----------
    most_bytes : int
        The most that it would have had to keep at once.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._held_bytes = 0
        self.most_bytes = 0

    def put(self, tensor: Tensor) -> int:
        """Count a tensor; the handle is its size."""
        size = self.bytes_of(tensor)
        self._held_bytes += size
        self.most_bytes = max(self.most_bytes, self._held_bytes)
        return size

    def get(self, _: int) -> Tensor:
        """Refuse: nothing was kept."""
        raise LookupError("a counting memory keeps nothing")

    def free(self, handle: int) -> None:
        """Count a tensor no more."""
        self._held_bytes -= handle

    def clear(self) -> None:
        """Count none of them any more."""
        self._held_bytes = 0

    def bytes_of(self, tensor: Tensor) -> int:
        """What it would take in the other memory."""
        return self._memory.bytes_of(tensor)
