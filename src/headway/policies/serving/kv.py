"""The books of one instance's paged KV memory: which block belongs to whom, and what is cached where.

Only the books are here; the memory itself is an engine's tensor, or nothing at all in virtual time. Both keep these
same books, so a policy meets the same memory in both. Executors write, policies read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from headway.core.errors import ConfigError
from headway.core.nouns import Id
from headway.policies.serving.kv_pool import KvPool


class BlockPool:
    """Blocks of KV memory with reference counts, a cache of prefixes, and pins.

    A block is *held* (by requests, counted), *cached* (held by nobody, its content still findable by hash; the least
    recently freed goes first when memory is needed) or *blank*. Cached and blank blocks are free. Block ids are
    ``0 .. num_blocks - 1``.

    Parameters
    ----------
    num_blocks : int
        Size of the pool in blocks, >= 1.
    block_size : int
        Tokens per block, >= 1; 16 by default.
    caching : bool
        Whether prefixes are remembered; True by default.

    Raises
    ------
    ConfigError
        When a size is not positive.
    """

    def __init__(self, num_blocks: int, block_size: int = 16, caching: bool = True) -> None:
        if num_blocks < 1 or block_size < 1:
            raise ConfigError(
                f"KV pool: num_blocks and block_size must be >= 1, got {num_blocks} and {block_size}. "
                "Give the engine more memory or serve a smaller model."
            )
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.caching = caching
        self.beyond: KvPool | None = None  # what this memory shares with that of other instances
        self.num_queried_tokens = 0
        self.num_hit_tokens = 0
        self.forget()

    def forget(self) -> None:
        """Lose all content; nobody holds anything any more."""
        self._blank = list(range(self.num_blocks - 1, -1, -1))
        self._shared: dict[int, int] = {}  # how many hold a block, where it is more than one
        self._hash_of: list[int | None] = [None] * self.num_blocks
        self._block_of: dict[int, int] = {}
        self._num_cached = 0
        self._run_of = [0] * self.num_blocks  # with which others a cached block was released; 0 when it is not cached
        self._runs: deque[tuple[int, list[int]]] = deque()  # released together, earliest first; some are held again
        self._num_in_runs = 0
        self._num_runs = 0
        self._pins: dict[Id, list[int]] = {}

    @property
    def num_free(self) -> int:
        """Blocks that a request could get now."""
        return len(self._blank) + self._num_cached

    @property
    def used_frac(self) -> float:
        """Share of the pool that is held."""
        return 1 - self.num_free / self.num_blocks

    @property
    def pins(self) -> Mapping[Id, Sequence[int]]:
        """The blocks that are kept, by owner, whoever else holds them."""
        return self._pins

    def blocks_for(self, tokens: int) -> int:
        """How many blocks `tokens` tokens fill."""
        return -(-tokens // self.block_size)

    def match(self, hashes: Sequence[int]) -> list[int]:
        """Return the blocks that hold the longest known prefix of a chain of hashes."""
        found: list[int] = []
        for hash_ in hashes if self.caching else ():
            block = self._block_of.get(hash_)
            if block is None:
                break
            found.append(block)
        return found

    def num_beyond(self, hashes: Sequence[int], num_found: int) -> int:
        """How many blocks of a chain can be fetched, after the `num_found` that are here."""
        return self.beyond.match(hashes[num_found:]) if self.beyond is not None else 0

    def num_cached_free(self, blocks: Iterable[int]) -> int:
        """How many of `blocks` are held by nobody; taking them uses up that many free blocks."""
        return sum([self._run_of[block] != 0 for block in blocks])

    def num_holders(self, block: int) -> int:
        """How many hold `block`, which is held or cached."""
        return 0 if self._run_of[block] else self._shared.get(block, 1)

    def hold(self, blocks: Iterable[int]) -> None:
        """Count one more holder for each block; cached ones stop being free."""
        for block in blocks:
            if self._run_of[block]:
                self._run_of[block] = 0
                self._num_cached -= 1
            else:
                self._shared[block] = self._shared.get(block, 1) + 1

    def allocate(self, count: int) -> list[int]:
        """Take `count` free blocks, forgetting the oldest cached prefixes if need be.

        Raises
        ------
        MemoryError
            When fewer are free; nothing is taken then.
        """
        if count > self.num_free:
            raise MemoryError(f"KV pool: {count} blocks asked for, {self.num_free} free")
        num_blank = min(count, len(self._blank))
        taken = self._blank[: -num_blank - 1 : -1]
        del self._blank[len(self._blank) - num_blank :]
        if num_blank < count:
            self._forget_oldest(taken, count)
        return taken

    def extend(self, holdings: Collection[list[int]]) -> None:
        """Add one free block to each of these lists of blocks.

        Raises
        ------
        MemoryError
            When fewer are free; nothing is taken then.
        """
        blank = self._blank
        if len(holdings) <= len(blank):
            for blocks in holdings:
                blocks.append(blank.pop())
            return
        for blocks, block in zip(holdings, self.allocate(len(holdings)), strict=True):
            blocks.append(block)

    def release(self, blocks: Sequence[int]) -> None:
        """Count one holder less for each block. The last is forgotten first: prefixes are found from the front."""
        if not self._block_of and not self._shared:
            self._blank.extend(reversed(blocks))
            return
        self._num_runs += 1
        number, run, rest = self._num_runs, list[int](), list[int]()
        for block in blocks:
            if block in self._shared:
                self._let_go(block)
            elif self._hash_of[block] is None:
                rest.append(block)
            else:
                self._run_of[block] = number
                run.append(block)
        rest.reverse()
        self._blank += rest
        if run:
            self._keep(number, run)

    def remember(self, block: int, hash_: int) -> None:
        """Make the full `block` findable by the chained hash of its content, unless an equal block already is."""
        if self.caching and hash_ not in self._block_of and self._hash_of[block] is None:
            self._block_of[hash_] = block
            self._hash_of[block] = hash_
            if self.beyond is not None and self.beyond.takes_all:
                self.beyond.put(hash_)

    def pin(self, owner: Id, blocks: Sequence[int]) -> None:
        """Hold `blocks` for `owner`, whoever else lets go of them. A second pin replaces the first."""
        self.hold(blocks)
        self.unpin(owner)
        self._pins[owner] = list(blocks)

    def unpin(self, owner: Id) -> None:
        """End the pin of `owner`, if there is one."""
        self.release(self._pins.pop(owner, []))

    def holders(self) -> tuple[int, ...]:
        """Reference counts of all blocks, by block id; for checks."""
        blank = set(self._blank)
        return tuple(
            0 if block in blank or self._run_of[block] else self._shared.get(block, 1)
            for block in range(self.num_blocks)
        )

    def _let_go(self, block: int) -> None:
        left = self._shared[block] - 1
        if left == 1:
            del self._shared[block]
        else:
            self._shared[block] = left

    def _keep(self, number: int, run: list[int]) -> None:
        """Note that these are cached from now on."""
        self._runs.append((number, run))
        self._num_cached += len(run)
        self._num_in_runs += len(run)
        if self._num_in_runs > 2 * self.num_blocks:  # many were held again, and released again in later runs
            valid = [(n, [block for block in r if self._run_of[block] == n]) for n, r in self._runs]
            self._runs = deque([entry for entry in valid if entry[1]])
            self._num_in_runs = self._num_cached

    def _forget_oldest(self, taken: list[int], count: int) -> None:
        """Add cached blocks to `taken`, the least recently freed first, until there are `count`."""
        run_of, hash_of, block_of = self._run_of, self._hash_of, self._block_of
        before = len(taken)
        while len(taken) < count:
            number, run = self._runs[0]
            while run and len(taken) < count:
                block = run.pop()
                self._num_in_runs -= 1
                if run_of[block] == number:
                    hash_ = hash_of[block]
                    assert hash_ is not None
                    if self.beyond is not None and not self.beyond.takes_all:
                        self.beyond.put(hash_)
                    run_of[block] = 0
                    hash_of[block] = None
                    del block_of[hash_]
                    taken.append(block)
            if not run:
                self._runs.popleft()
        self._num_cached -= len(taken) - before
