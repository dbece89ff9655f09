"""A link with a rate: real copies of real bytes, no faster than it allows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from headway.core.nouns import Seconds

Sleep = Callable[[Seconds], None]


class Link:
    """Copies tensors to another memory, one transfer after the other, at a rate (a token bucket without burst).

    Parameters
    ----------
    target : torch.device
        Where the copies lie.
    bytes_per_s : float
        The rate, > 0; infinite leaves the memory's own.
    clock, sleep : callable
        Of real time by default.

    Notes
    -----
    On a machine without an accelerator both ends lie in the same memory, and the rate stands in for a bus: the bytes
    are really copied, the time is made up. With one, copies go over the real bus from and to pinned memory, and the
    rate may be infinite; that way has not been tried.
    """

    def __init__(
        self,
        target: torch.device,
        bytes_per_s: float = math.inf,
        *,
        clock: Callable[[], Seconds] = time.perf_counter,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.target = target
        self.bytes_per_s = bytes_per_s
        self.num_bytes = 0
        self._clock = clock
        self._sleep = sleep
        self._stream: torch.cuda.Stream | None = None

    def send(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copy tensors, and return when the last byte may have arrived."""
        end_s = self._clock()
        arrived = [self._copy(tensor.detach()) for tensor in tensors]
        num = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        self.num_bytes += num
        end_s += num / self.bytes_per_s
        left_s = end_s - self._clock()
        if left_s > 0:
            self._sleep(left_s)
        return arrived

    def _copy(self, tensor: Tensor) -> Tensor:
        if "cuda" in (tensor.device.type, self.target.type):
            return self._copy_over_bus(tensor)
        return tensor.clone()

    def _copy_over_bus(self, tensor: Tensor) -> Tensor:
        """Copy between pinned memory and an accelerator on a stream of this link's own, and wait for it."""
        device = tensor.device if tensor.device.type == "cuda" else self.target
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        is_down = self.target.type == "cpu"
        source = tensor if is_down else tensor.pin_memory()
        with torch.cuda.stream(self._stream):
            copy = torch.empty(tensor.shape, dtype=tensor.dtype, device=self.target, pin_memory=is_down)
            copy.copy_(source, non_blocking=True)
        self._stream.synchronize()
        return copy
