"""Activations of fine-tuning in KV memory that serving does not need at the moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headway.core.errors import TuneError


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies: blocks of one side after another, its bytes in order."""

    parts: list[tuple[int, Tensor]]
    num_bytes: int
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
        self._sides = list(sides)
        self._widths = [side.shape[1] for side in self._sides]
        self._free: list[Tensor] = [torch.empty(0, dtype=torch.int64, device=side.device) for side in self._sides]
        self._lent: list[int] = []

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
        more = torch.tensor(list(blocks), dtype=torch.int64)
        self._free = [torch.cat((free, more.to(free.device))) for free in self._free]

    def take_back(self) -> list[int]:
        """Use none of the blocks any more; what lay there is lost. Returns which they were."""
        lent, self._lent = self._lent, []
        self._free = [free[:0] for free in self._free]
        return lent

    def put(self, tensor: Tensor) -> _Place:
        """Copy the values of a tensor into free blocks.

        Raises
        ------
        TuneError
            When they have no room for it.
        """
        laid = tensor if _is_dense(tensor) else tensor.contiguous()
        num_bytes = laid.numel() * laid.element_size()
        parts = self._find(num_bytes)
        with torch.inference_mode():  # the pool may have been made in it
            self._write(_as_bytes(laid), parts)
        return _Place(parts, num_bytes, laid.shape, laid.stride(), laid.dtype)

    def get(self, handle: _Place) -> Tensor:
        """Return a copy of a tensor."""
        out = torch.empty_strided(handle.shape, handle.stride, dtype=handle.dtype, device=self._sides[0].device)
        with torch.no_grad():
            self._read(_as_bytes(out), handle.parts)
        return out

    def free(self, handle: _Place) -> None:
        """Let others have the blocks of a tensor."""
        for side, blocks in handle.parts:
            self._free[side] = torch.cat((self._free[side], blocks))

    def clear(self) -> None:
        """Let others have the blocks of all tensors."""
        all_lent = torch.tensor(self._lent, dtype=torch.int64)
        self._free = [all_lent.to(free.device) for free in self._free]

    def bytes_of(self, tensor: Tensor) -> int:
        """How much it takes: its bytes, and what is left over of its last cell."""
        width = max(self._widths)
        return -(-tensor.numel() * tensor.element_size() // width) * width

    def _write(self, data: Tensor, parts: list[tuple[int, Tensor]]) -> None:
        for side, blocks in parts:
            memory, width = self._sides[side], self._widths[side]
            num_whole = min(len(blocks), len(data) // width)
            whole, data = data[: num_whole * width], data[num_whole * width :]
            if num_whole:
                memory.index_copy_(0, blocks[:num_whole], whole.view(num_whole, width))
            if num_whole < len(blocks):
                memory[blocks[num_whole], : len(data)] = data

    def _read(self, data: Tensor, parts: list[tuple[int, Tensor]]) -> None:
        for side, blocks in parts:
            memory, width = self._sides[side], self._widths[side]
            num_whole = min(len(blocks), len(data) // width)
            whole, data = data[: num_whole * width], data[num_whole * width :]
            if num_whole:
                torch.index_select(memory, 0, blocks[:num_whole], out=whole.view(num_whole, width))
            if num_whole < len(blocks):
                data[:] = memory[blocks[num_whole], : len(data)]

    def _find(self, num_bytes: int) -> list[tuple[int, Tensor]]:
        """Take as many free cells as so many bytes need, from the sides that have most of them."""
        parts: list[tuple[int, Tensor]] = []
        left = num_bytes
        for side in sorted(range(len(self._sides)), key=lambda side: -len(self._free[side])):
            if left <= 0:
                return parts
            num = min(-(-left // self._widths[side]), len(self._free[side]))
            if num:
                parts.append((side, self._free[side][:num]))
                self._free[side] = self._free[side][num:]
                left -= num * self._widths[side]
        if left > 0:
            self.free(_Place(parts, 0, torch.Size(), (), torch.uint8))
            raise TuneError(
                f"tune: the memory lent must hold a microbatch, but {num_bytes} bytes more do not fit into "
                f"{self.num_lent} blocks. Lend more, or set a smaller microbatch_tokens."
            )
        return parts


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


def _as_bytes(tensor: Tensor) -> Tensor:
    """A dense tensor's memory, uint8 `[bytes]`."""
    flat = tensor.as_strided((math.prod(tensor.shape),), (1,))
    return flat.view(torch.uint8)
