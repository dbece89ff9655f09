"""Blocks of one side of a KV pool, written and read many at a time: each as fast as its device can."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Blocks = NDArray[np.int64]


class Cells(Protocol):
    """Blocks of so many bytes each, on one device.

    Attributes
    ----------
    width : int
        Bytes of each.
    """

    width: int

    def bytes_of(self, flat: Tensor) -> Any:
        """The memory of a tensor `[values]` as its device likes it best: something `[bytes]` that can be sliced."""
        ...

    def write(self, blocks: Blocks, data: Any) -> None:
        """Copy such bytes into blocks, one after another; the last one need not be filled."""
        ...

    def read(self, blocks: Blocks, out: Any) -> None:
        """Copy them back."""
        ...


def cells_of(side: Tensor) -> Cells:
    """Return the blocks of a side, uint8 `[num_blocks, bytes]`."""
    return CpuCells(side) if side.device.type == "cpu" else DeviceCells(side)


class CpuCells:
    """In ordinary memory. numpy copies whole blocks, where torch would go byte by byte.

    Parameters
    ----------
    side : Tensor
        The memory, uint8 `[num_blocks, bytes]`.
    """

    def __init__(self, side: Tensor) -> None:
        self._memory: NDArray[Any] = side.numpy()
        self.width = side.shape[1]

    def bytes_of(self, flat: Tensor) -> NDArray[Any]:
        """The memory of a tensor as an array."""
        array: NDArray[Any] = flat.view(torch.uint8).numpy()
        return array

    def write(self, blocks: Blocks, data: NDArray[Any]) -> None:
        """Copy bytes into blocks."""
        num, left = divmod(data.size, self.width)
        if num:
            self._memory[blocks[:num]] = data[: num * self.width].reshape(num, self.width)
        if left:
            self._memory[blocks[num], :left] = data[num * self.width :]

    def read(self, blocks: Blocks, out: NDArray[Any]) -> None:
        """Copy them back."""
        num, left = divmod(out.size, self.width)
        if num:
            whole = out[: num * self.width].reshape(num, self.width)
            self._memory.take(blocks[:num], 0, whole, "clip")  # other modes copy twice
        if left:
            out[num * self.width :] = self._memory[blocks[num], :left]


class DeviceCells:
    """On a GPU. Blocks are copied in words where they consist of such.

    Parameters
    ----------
    side : Tensor
        The memory, uint8 `[num_blocks, bytes]`.
    """

    def __init__(self, side: Tensor) -> None:
        self._bytes = side
        self.width = side.shape[1]
        self._word = torch.int64 if self.width % 8 == 0 and side.data_ptr() % 8 == 0 else torch.uint8
        self._memory = side.view(self._word)

    def bytes_of(self, flat: Tensor) -> Tensor:
        """The memory of a tensor."""
        return flat.view(torch.uint8)

    @torch.inference_mode()  # the pool may have been made in it
    def write(self, blocks: Blocks, data: Tensor) -> None:
        """Copy bytes into blocks."""
        num, left = divmod(data.shape[0], self.width)
        if num:
            rows = data[: num * self.width].view(self._word).view(num, -1)
            self._memory.index_copy_(0, self._on_device(blocks[:num]), rows)
        if left:
            self._bytes[int(blocks[num]), :left] = data[num * self.width :]

    @torch.no_grad()
    def read(self, blocks: Blocks, out: Tensor) -> None:
        """Copy them back."""
        num, left = divmod(out.shape[0], self.width)
        if num:
            rows = out[: num * self.width].view(self._word).view(num, -1)
            torch.index_select(self._memory, 0, self._on_device(blocks[:num]), out=rows)
        if left:
            out[num * self.width :] = self._bytes[int(blocks[num]), :left]

    def _on_device(self, blocks: Blocks) -> Tensor:
        return torch.from_numpy(blocks.copy()).to(self._bytes.device)
