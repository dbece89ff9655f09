"""The operations of `headway.numerics.nets` in torch, for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from headway.numerics.nets import Array, Ops


class TorchOps:
    """The operations in torch, in single precision."""

    exp = staticmethod(torch.exp)
    log = staticmethod(torch.log)
    sqrt = staticmethod(torch.sqrt)
    tanh = staticmethod(torch.tanh)
    relu = staticmethod(torch.relu)
    swapaxes = staticmethod(torch.swapaxes)

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        """Return x where the condition holds, else y."""
        return torch.where(condition, x, y)

    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array:
        """Join along an axis."""
        return torch.cat(list(arrays), dim=axis)

    def stack(self, arrays: Sequence[Array], axis: int) -> Array:
        """Join along a new axis."""
        return torch.stack(list(arrays), dim=axis)

    def sum(self, x: Array, axis: int, keepdims: bool = False) -> Array:
        """Add along an axis."""
        return x.sum(dim=axis, keepdim=keepdims)

    def mean(self, x: Array, axis: int, keepdims: bool = False) -> Array:
        """Return the mean along an axis."""
        return x.mean(dim=axis, keepdim=keepdims)

    def max(self, x: Array, axis: int, keepdims: bool = False) -> Array:
        """Return the largest along an axis."""
        return x.amax(dim=axis, keepdim=keepdims)

    def take(self, x: Array, index: Array, axis: int) -> Array:
        """Return the entries at an index of one axis; the index is one-dimensional."""
        return torch.index_select(x, axis, torch.as_tensor(index, dtype=torch.long))

    def asarray(self, x: Any) -> Array:
        """Return a tensor: numbers in single precision, whole numbers and truth values as they are."""
        tensor = torch.as_tensor(x)
        return tensor.float() if tensor.is_floating_point() else tensor


TORCH: Ops = TorchOps()


def to_torch(weights: Mapping[str, npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Return copies of weights that gradients flow to."""
    return {name: torch.tensor(array, dtype=torch.float32).requires_grad_() for name, array in weights.items()}


def to_numpy(weights: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[np.float32]]:
    """Return copies of weights as they are now."""
    return {name: tensor.detach().numpy().copy() for name, tensor in weights.items()}
