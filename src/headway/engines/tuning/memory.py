"""Where activations live between two units of fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Memory(Protocol):
    """Keeps tensors of one microbatch under way."""

    def put(self, tensor: Tensor) -> Any:
        """Keep the values of a tensor, and return a handle that leads back to them.

        Raises
        ------
        TuneError
            When there is no room.
        """
        ...

    def get(self, handle: Any) -> Tensor:
        """Return a tensor with these values, of the shape and the type that it had."""
        ...

    def free(self, handle: Any) -> None:
        """Forget one tensor."""
        ...

    def clear(self) -> None:
        """Forget all tensors."""
        ...

    def bytes_of(self, tensor: Tensor) -> int:
        """How many bytes keeping this tensor takes here; 0 for one that is kept elsewhere anyway."""
        ...


class OwnMemory:
    """Keeps tensors where they are: memory as the process has it anyway."""

    def put(self, tensor: Tensor) -> Tensor:
        """Keep a tensor; this copies nothing."""
        return tensor

    def get(self, handle: Tensor) -> Tensor:
        """Return it."""
        return handle

    def free(self, handle: Tensor) -> None:
        """Nothing to do: a tensor without a handle is gone."""

    def clear(self) -> None:
        """Nothing to do."""

    def bytes_of(self, tensor: Tensor) -> int:
        """The bytes of its values."""
        return tensor.numel() * tensor.element_size()
