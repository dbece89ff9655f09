"""Where the runner remembers its sequences between steps: token ids and block tables, one line per slot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headway.engines.llm.model.lent import LentSequences

Ints = npt.NDArray[np.int64]


class SlotTable:
    """Token ids `[slots, context]` and block tables `[slots, blocks]` as numpy arrays that live from step to step.

    A step's batch is gathered from them with a handful of vectorised operations, whatever its number of sequences.

    Parameters
    ----------
    num_slots : int
        How many sequences to make room for at first, >= 1; it doubles when they run out.
    context_tokens : int
        Longest sequence, >= 1.
    block_size : int
        Tokens per KV block, >= 1.
    """

    def __init__(self, num_slots: int, context_tokens: int, block_size: int) -> None:
        self.block_size = block_size
        # One more than the context: the token that ends a full sequence is known though never computed.
        self.tokens = np.zeros((num_slots, context_tokens + 1), np.int32)
        self.blocks = np.zeros((num_slots, -(-context_tokens // block_size)), np.int32)
        self.lengths = np.zeros(num_slots, np.int64)
        self.adapters = np.zeros(num_slots, np.int64)
        self.lent = LentSequences()
        self._free = list(range(num_slots - 1, -1, -1))

    def open(self, prompt: Sequence[int], adapter: int = 0) -> int:
        """Take a free slot for a sequence that begins with `prompt`."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self.tokens[slot, : len(prompt)] = prompt
        self.lengths[slot] = len(prompt)
        self.adapters[slot] = adapter
        return slot

    def append(self, slots: Sequence[int] | Ints | int, tokens: Sequence[int] | Ints | int) -> None:
        """Add one token to each of some different slots."""
        where = np.asarray(slots, np.int64)
        ends = self.lengths[where]
        self.tokens[where, ends] = tokens
        self.lengths[where] = ends + 1

    def set_blocks(self, slot: int, blocks: Sequence[int], first: int = 0) -> None:
        """Say which KV blocks the slot's positions live in; those before `first` are as they were."""
        line = self.blocks[slot]
        line[first : len(blocks)] = blocks[first : len(line)]  # a policy may hold more than the longest sequence fills

    def close(self, slot: int) -> None:
        """Give the slot back."""
        self.lent.drop(slot)
        self.lengths[slot] = 0
        self.adapters[slot] = 0
        self._free.append(slot)

    def _grow(self) -> None:
        num_slots = len(self.lengths)
        for name in ("tokens", "blocks", "lengths", "adapters"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros_like(old)]))
        self._free = list(range(2 * num_slots - 1, num_slots - 1, -1))
