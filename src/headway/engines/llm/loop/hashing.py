"""Chained hashes of full KV blocks: equal chains mean equal prefixes under the same adapter."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct

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
        self._fresh = blake2b(digest_size=HASH_BYTES, key=key).copy  # keyed once: half of the work for a block
        self._pack = Struct(f"<{block_size}i").pack
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
        parent = hashes[-1].to_bytes(HASH_BYTES, "little", signed=True) if done else self._root(adapter)
        size = self.block_size
        for start in range(done * size, full * size, size):
            hash_ = self._fresh()
            hash_.update(parent + self._pack(*tokens[start : start + size]))
            parent = hash_.digest()
            hashes.append(int.from_bytes(parent, "little", signed=True))

    def next_full(self, tokens: int) -> int:
        """Return the next number of tokens, above `tokens`, at which a block is full."""
        return (tokens // self.block_size + 1) * self.block_size

    def _root(self, adapter: str) -> bytes:
        """Return what the first block of a chain is hashed with: keys and values depend on the adapter."""
        root = self._roots.get(adapter)
        if root is None:
            hash_ = self._fresh()
            hash_.update(adapter.encode())
            root = self._roots[adapter] = hash_.digest()
        return root
