"""The hashes by which vLLM finds blocks of its cache, as the books know them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

HASH_BYTES = 8


class Chain(Sequence[int]):
    """Numbers for a list of hashes that grows as blocks fill up.

    Parameters
    ----------
    hashes : sequence of bytes
        vLLM's own list for a request; read whenever somebody looks.
    skipped : int
        How many at its front are known already, >= 0.
    """

    __slots__ = ("_hashes", "_skipped")

    def __init__(self, hashes: Sequence[bytes], skipped: int = 0) -> None:
        self._hashes = hashes
        self._skipped = skipped

    def __len__(self) -> int:
        return max(0, len(self._hashes) - self._skipped)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, int):
            return number(self._hashes[self._skipped + index] if index >= 0 else self._hashes[index])
        if index.stop is None and index.step is None:
            return Chain(self._hashes, self._skipped + (index.start or 0))
        return [number(hash_) for hash_ in self._hashes[self._skipped :][index]]


def number(hash_: bytes) -> int:
    """Return a hash as a signed 64-bit number."""
    return int.from_bytes(hash_[:HASH_BYTES], "little", signed=True)
