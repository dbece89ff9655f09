"""Who holds a part of somebody else's keys and values, and attends over it when asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from headway.core.errors import EngineError
from headway.engines.llm.model.split_attention import Part, attend_part

if TYPE_CHECKING:
    from torch import Tensor

Answer = Callable[[], Part]
"""Waits for a part that was asked for."""


class Holder(Protocol):
    """Holds parts of sequences: the creditor of a runner."""

    def reserve(self, sequence: int, tokens: int) -> bool:
        """Set room aside for more tokens of a sequence; says whether there is any."""

    def put(self, sequence: int, layer: int, keys: Tensor, values: Tensor) -> None:
        """Take more keys and values `[tokens, kv_heads, dim]` of a sequence, after those that are here."""

    def ask(self, sequence: int, layer: int, q: Tensor, scale: float, softcap: float) -> Answer:
        """Attend with `q [tokens, heads, dim]` over all that is here of a sequence in a layer."""

    def drop(self, sequence: int) -> None:
        """Forget a sequence, and free its room."""


class KvHolder:
    """A holder in plain memory.

    Parameters
    ----------
    room_tokens : int
        For how many tokens there is room, >= 0.

    Attributes
    ----------
    free_tokens : int
        For how many there is room still.
    """

    def __init__(self, room_tokens: int) -> None:
        self.free_tokens = room_tokens
        self._reserved: dict[int, int] = {}
        self._held: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def reserve(self, sequence: int, tokens: int) -> bool:
        """Set room aside for more tokens of a sequence; says whether there is any."""
        if tokens > self.free_tokens:
            return False
        self.free_tokens -= tokens
        self._reserved[sequence] = self._reserved.get(sequence, 0) + tokens
        return True

    def put(self, sequence: int, layer: int, keys: Tensor, values: Tensor) -> None:
        """Take more keys and values `[tokens, kv_heads, dim]` of a sequence, after those that are here.

        Raises
        ------
        EngineError
            When room for them was not reserved.
        """
        import torch

        before = self._held.get((sequence, layer))
        if before is not None:
            keys, values = torch.cat([before[0], keys]), torch.cat([before[1], values])
        room = self._reserved.get(sequence, 0)
        if len(keys) > room:
            raise EngineError(f"holder: sequence {sequence} must fit into its {room} tokens, got {len(keys)}. Reserve.")
        self._held[sequence, layer] = keys.contiguous(), values.contiguous()

    def ask(self, sequence: int, layer: int, q: Tensor, scale: float, softcap: float) -> Answer:
        """Attend with `q [tokens, heads, dim]` over all that is here of a sequence in a layer."""
        keys, values = self._held[sequence, layer]
        part = attend_part(q, keys, values, scale, softcap)
        return lambda: part

    def drop(self, sequence: int) -> None:
        """Forget a sequence, and free its room."""
        self.free_tokens += self._reserved.pop(sequence, 0)
        for key in [key for key in self._held if key[0] == sequence]:
            del self._held[key]
