"""Activations of fine-tuning in KV memory that serving does not need at the moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from headway.core.errors import TuneError
from headway.engines.tuning.cells import Blocks, cells_of


class _Place(NamedTuple):
    """Where a tensor lies: blocks of one side after another, its bytes in order."""

    parts: list[tuple[int, Blocks]]
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype


class LentMemory:
    """Keeps tensors in blocks of a KV pool, as long as they are lent.

    A block is one per side at the same time: it has room for bytes in the keys and in the values of every layer. A
    tensor takes cells, the blocks of one side, and as many sides as it needs.

    Parameters
    ----------
    sides : sequence of Tensor
        The pool's memory as bytes: per layer one tensor uint8 `[num_blocks, bytes]` for keys and one for values, each a
        view of the pool.
    """

    def __init__(self, sides: Sequence[Tensor]) -> None:
        self._device = sides[0].device
        self._sides = [cells_of(side) for side in sides]
        self._widths = [side.shape[1] for side in sides]
        self._lent: list[int] = []
        self._free: list[_Free] = [_Free([], 0) for _ in sides]
        self._at = 0

    @property
    def block_bytes(self) -> int:
        """Bytes of one block, all sides together."""
        return sum(self._widths)

    @property
    def num_lent(self) -> int:
        """How many blocks are lent."""
        return len(self._lent)

    def blocks_for(self, num_bytes: int) -> int:
        """How many blocks take so many bytes, counted as `bytes_of` counts them."""
        return -(-num_bytes // self.block_bytes)

    def lend(self, blocks: Sequence[int]) -> None:
        """Use these blocks, too, from now on."""
        self._lent += blocks
        self._free = [_Free([*free.left(), *blocks], len(self._lent)) for free in self._free]

    def take_back(self) -> list[int]:
        """Use none of the blocks any more; what lay there is lost. Returns which they were."""
        lent, self._lent = self._lent, []
        self.clear()
        return lent

    def put(self, tensor: Tensor) -> _Place:
        """Copy the values of a tensor into free blocks.

        Raises
        ------
        TuneError
            When they have no room for it.
        """
        laid = tensor if _is_dense(tensor) else tensor.contiguous()
        parts = self._find(laid.numel() * laid.element_size())
        if parts:
            data = self._sides[0].bytes_of(_flat(laid))
            for side, blocks in parts:
                cells, size = self._sides[side], blocks.size * self._widths[side]
                cells.write(blocks, data[:size])
                data = data[size:]
        return _Place(parts, laid.shape, laid.stride(), laid.dtype)

    def get(self, handle: _Place) -> Tensor:
        """Return a copy of a tensor."""
        out = torch.empty_strided(handle.shape, handle.stride, dtype=handle.dtype, device=self._device)
        if handle.parts:
            data = self._sides[0].bytes_of(_flat(out))
            for side, blocks in handle.parts:
                cells, size = self._sides[side], blocks.size * self._widths[side]
                cells.read(blocks, data[:size])
                data = data[size:]
        return out

    def free(self, handle: _Place) -> None:
        """Let others have the blocks of a tensor."""
        for side, blocks in handle.parts:
            self._free[side].give(blocks)

    def clear(self) -> None:
        """Let others have the blocks of all tensors."""
        self._free = [_Free(self._lent, len(self._lent)) for _ in self._sides]

    def bytes_of(self, tensor: Tensor) -> int:
        """How much it takes: its bytes, and what is left over of its last cell."""
        width = max(self._widths)
        return -(-tensor.numel() * tensor.element_size() // width) * width

    def _find(self, num_bytes: int) -> list[tuple[int, Blocks]]:
        """Take as many free cells as so many bytes need, from one side after another."""
        parts: list[tuple[int, Blocks]] = []
        left = num_bytes
        for _ in self._sides:
            if left <= 0:
                return parts
            side, width = self._at, self._widths[self._at]
            taken = self._free[side].take(-(-left // width))
            if taken.size:
                parts.append((side, taken))
                left -= taken.size * width
            if left > 0:
                self._at = (self._at + 1) % len(self._sides)
        if left > 0:
            for side, blocks in parts:
                self._free[side].give(blocks)
            raise TuneError(
                f"tune: the memory lent must hold a microbatch, but {num_bytes} bytes more do not fit into "
                f"{self.num_lent} blocks. Lend more, or set a smaller microbatch_tokens."
            )
        return parts


class _Free:
    """The free blocks of one side, a pile of them, with room for as many as there can be."""

    def __init__(self, blocks: Sequence[int], room: int) -> None:
        self._pile = np.empty(room, np.int64)
        self._pile[: len(blocks)] = blocks
        self._num = len(blocks)

    def left(self) -> list[int]:
        """All that are there."""
        found: list[int] = self._pile[: self._num].tolist()
        return found

    def take(self, num: int) -> Blocks:
        """Take so many, or as many as there are."""
        first = max(0, self._num - num)
        taken: Any = self._pile[first : self._num].copy()
        self._num = first
        return taken  # type: ignore[no-any-return]

    def give(self, blocks: Blocks) -> None:
        """Put some back."""
        self._pile[self._num : self._num + blocks.size] = blocks
        self._num += blocks.size


def _is_dense(tensor: Tensor) -> bool:
    """Whether a tensor fills its memory without holes and overlaps."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


def _flat(tensor: Tensor) -> Tensor:
    """A dense tensor's values in the order of its memory `[values]`."""
    return tensor.as_strided((tensor.numel(),), (1,))
