"""Chained hashes of full KV blocks: equal chains mean equal prefixes under the same adapter."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b

HASH_BYTES = 8


class BlockHasher:
    """Hashes token ids block by block, each block together with everything before it.

    Parameters
    ----------
    block_size : int
        Tokens per block, >= 1.
    key : bytes
        A secret of at most 64 bytes. With a random key nobody can prepare a prompt whose hashes equal those of somebody
        else's. The empty key gives the same hashes in every process.

    Examples
    --------
    >>> hasher = BlockHasher(2)
    >>> short, long = hasher.chain([1, 2, 3, 4]), hasher.chain([1, 2, 3, 4, 5, 6, 7])
    >>> long[:2] == short, len(long)
    (True, 3)
    """

    def __init__(self, block_size: int, key: bytes = b"") -> None:
        self.block_size = block_size
        self._key = key
        self._roots: dict[str, bytes] = {}

    def chain(self, tokens: Sequence[int], adapter: str = "") -> list[int]:
        """Return one hash per full block of `tokens`, as signed 64-bit numbers."""
        hashes: list[int] = []
        self.extend(hashes, tokens, adapter)
        return hashes

    def extend(self, hashes: list[int], tokens: Sequence[int], adapter: str = "") -> None:
        """Append to `hashes`, which cover the front of `tokens`, those of the full blocks that are not covered yet."""
        done, full = len(hashes), len(tokens) // self.block_size
        if done == full:
            return
        data = array("i", tokens[done * self.block_size : full * self.block_size]).tobytes()
        width = len(data) // (full - done)
        parent = hashes[-1].to_bytes(HASH_BYTES, "little", signed=True) if done else self._root(adapter)
        for start in range(0, len(data), width):
            parent = blake2b(parent + data[start : start + width], digest_size=HASH_BYTES, key=self._key).digest()
            hashes.append(int.from_bytes(parent, "little", signed=True))

    def next_full(self, tokens: int) -> int:
        """Return the next number of tokens, above `tokens`, at which a block is full."""
        return (tokens // self.block_size + 1) * self.block_size

    def _root(self, adapter: str) -> bytes:
        """Return what the first block of a chain is hashed with: keys and values depend on the adapter."""
        root = self._roots.get(adapter)
        if root is None:
            root = blake2b(adapter.encode(), digest_size=HASH_BYTES, key=self._key, person=b"adapter").digest()
            self._roots[adapter] = root
        return root
