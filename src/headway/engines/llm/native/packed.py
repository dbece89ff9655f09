"""What a packed weight shows of itself."""

from __future__ import annotations

from typing import Literal, Protocol

WeightKind = Literal["float32", "bfloat16", "int8"]


class Packed(Protocol):
    """A weight laid out for fast products; opaque but for its shape."""

    @property
    def num_outputs(self) -> int:
        """Rows of the original `[N, K]` weight."""

    @property
    def num_inputs(self) -> int:
        """Columns of the original `[N, K]` weight."""

    @property
    def kind(self) -> str:
        """`float32`, `bfloat16` or `int8`."""

    @property
    def num_bytes(self) -> int:
        """Memory held by the packed form, in bytes."""
