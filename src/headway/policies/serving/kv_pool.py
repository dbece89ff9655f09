"""A pool of keys and values beyond the instances: what one of them has computed, another can fetch.

Only the books are here, as in `kv`. What leaves first is chosen by S3-FIFO (Yang et al., "FIFO queues are all you need
for cache eviction", SOSP 2023), AIBrix's default: new blocks pass through a small queue, and only those that were asked
for meanwhile get into the large one; so a scan of blocks that nobody asks for again does no harm.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from headway.core.errors import ConfigError

MOST_HITS = 3
"""Hits that count; an entry of the large queue survives so many rounds at most."""


class S3Fifo:
    """A set of numbers of bounded size.

    Parameters
    ----------
    capacity : int
        The most entries, >= 1.
    small_frac : float
        Share of the small queue, in (0, 1].
    """

    def __init__(self, capacity: int, small_frac: float) -> None:
        self._capacity = capacity
        self._small_most = max(1, int(capacity * small_frac))
        self._small: OrderedDict[int, int] = OrderedDict()  # hits by entry, the oldest first
        self._main: OrderedDict[int, int] = OrderedDict()
        self._ghosts: OrderedDict[int, None] = OrderedDict()  # have left the small queue unasked for

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def __contains__(self, entry: int) -> bool:
        return entry in self._small or entry in self._main

    def hit(self, entry: int) -> None:
        """Note that an entry was asked for."""
        queue = self._small if entry in self._small else self._main
        queue[entry] = min(MOST_HITS, queue[entry] + 1)

    def add(self, entry: int) -> None:
        """Take in an entry that is not there, and let others go to make room for it."""
        while len(self) >= self._capacity:
            self._evict()
        was_ghost = entry in self._ghosts
        if was_ghost:
            del self._ghosts[entry]
        (self._main if was_ghost else self._small)[entry] = 0

    def _evict(self) -> None:
        if len(self._small) >= self._small_most or not self._main:
            entry, hits = self._small.popitem(last=False)
            if hits:
                self._main[entry] = 0
                return
            self._ghosts[entry] = None
            if len(self._ghosts) > self._capacity - self._small_most:
                self._ghosts.popitem(last=False)
            return
        entry, hits = self._main.popitem(last=False)
        if hits:
            self._main[entry] = hits - 1


class KvPool:
    """The books of the pool.

    Parameters
    ----------
    num_blocks : int
        How many it holds, >= 1, each of the size that the instances' blocks have.
    takes_all : bool
        Whether a block comes into it as soon as an instance has filled it, or only when the instance evicts it.
    small_frac : float
        Share of S3-FIFO's small queue, in (0, 1]; 0.3, AIBrix's default.

    Raises
    ------
    ConfigError
        When a number is out of its range.

    Attributes
    ----------
    num_fetched_blocks : int
        Blocks that instances have fetched.

    Examples
    --------
    >>> pool = KvPool(num_blocks=2)
    >>> pool.put(7)
    >>> pool.match((7, 8)), pool.settle(), pool.match((7, 8))
    (0, None, 1)
    """

    def __init__(self, num_blocks: int, takes_all: bool = True, small_frac: float = 0.3) -> None:
        if num_blocks < 1 or not 0 < small_frac <= 1:
            raise ConfigError(
                f"kv_pool: num_blocks must be >= 1 and small_frac in (0, 1], got {num_blocks} and {small_frac}. "
                "Give it more memory."
            )
        self.takes_all = takes_all
        self.num_fetched_blocks = 0
        self._cache = S3Fifo(num_blocks, small_frac)
        self._offered: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._cache)

    def match(self, hashes: Sequence[int]) -> int:
        """Return how many leading blocks of a chain it has."""
        cache = self._cache
        for number, hash_ in enumerate(hashes):
            if hash_ not in cache:
                return number
        return len(hashes)

    def fetch(self, hashes: Sequence[int]) -> None:
        """Note that an instance fetches these blocks."""
        for hash_ in hashes:
            self._cache.hit(hash_)
        self.num_fetched_blocks += len(hashes)

    def put(self, hash_: int) -> None:
        """Offer a block; it is there after the next `settle`."""
        self._offered[hash_] = None

    def settle(self) -> None:
        """Take in what was offered. In the midst of a decision nothing changes."""
        for hash_ in self._offered:
            if hash_ not in self._cache:
                self._cache.add(hash_)
        self._offered.clear()
