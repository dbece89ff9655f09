"""The books of KV memory: nothing is lost, nothing is given twice, and a prefix is what it says."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from headway.core.errors import ConfigError
from headway.policies.serving.kv import BlockPool


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="must be >= 1, got 0 and 16"):
        BlockPool(0)
    with pytest.raises(ConfigError, match="must be >= 1, got 4 and 0"):
        BlockPool(4, 0)


def test_blocks_for_rounds_up() -> None:
    pool = BlockPool(4, 16)
    assert [pool.blocks_for(tokens) for tokens in (0, 1, 16, 17)] == [0, 1, 1, 2]


def test_asking_for_more_than_is_free_takes_nothing() -> None:
    pool = BlockPool(4)
    pool.allocate(3)
    with pytest.raises(MemoryError, match="2 blocks asked for, 1 free"):
        pool.allocate(2)
    assert pool.num_free == 1
    assert pool.used_frac == 0.75


def test_a_prefix_is_found_until_its_memory_is_needed_and_its_end_goes_first() -> None:
    pool = BlockPool(4)
    blocks = pool.allocate(3)
    for block, hash_ in zip(blocks, (10, 11, 12), strict=True):
        pool.remember(block, hash_)
    pool.release(blocks)
    assert pool.num_free == 4
    assert pool.match([10, 11, 12, 13]) == blocks
    assert pool.match([11]) == [blocks[1]]  # chained hashes make such a question meaningless; it is the caller's chain
    pool.allocate(2)
    assert pool.match([10, 11, 12]) == blocks[:2]


def test_the_least_recently_freed_prefix_goes_first() -> None:
    pool = BlockPool(2)
    old, new = pool.allocate(1), pool.allocate(1)
    pool.remember(old[0], 1)
    pool.remember(new[0], 2)
    pool.release(new)
    pool.release(old)
    pool.hold(pool.match([2]))
    pool.release(new)
    pool.allocate(1)
    assert pool.match([1]) == []
    assert pool.match([2]) == new


def test_equal_blocks_are_remembered_once() -> None:
    pool = BlockPool(4)
    first, second = pool.allocate(2)
    pool.remember(first, 7)
    pool.remember(second, 7)
    pool.release([second])
    assert pool.match([7]) == [first]
    pool.release([first])
    assert pool.num_free == 4


def test_without_caching_nothing_is_found() -> None:
    pool = BlockPool(4, caching=False)
    blocks = pool.allocate(1)
    pool.remember(blocks[0], 7)
    assert pool.match([7]) == []


def test_a_pin_holds_blocks_until_it_is_ended() -> None:
    pool = BlockPool(4)
    blocks = pool.allocate(2)
    pool.pin("session", blocks)
    pool.release(blocks)
    assert pool.num_free == 2
    assert dict(pool.pins) == {"session": blocks}
    pool.unpin("session")
    pool.unpin("session")
    assert pool.num_free == 4
    assert not pool.pins


class Pool(RuleBasedStateMachine):
    """Random holders of a small pool, beside a model that only counts."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(8, 4)
        self.holdings: list[list[int]] = []
        self.pins: dict[str, list[int]] = {}
        self.content: dict[int, int] = {}

    def keep(self, blocks: list[int]) -> list[int]:
        self.holdings.append(blocks)
        return blocks

    @rule(target=held, count=st.integers(0, 8))
    @precondition(lambda self: self.pool.num_free)
    def allocate(self, count: int) -> list[int]:
        blocks = self.pool.allocate(min(count, self.pool.num_free))
        for block in blocks:
            self.content.pop(block, None)
        return self.keep(blocks)

    @rule(target=held, length=st.integers(1, 4))
    def hit(self, length: int) -> list[int]:
        blocks = self.pool.match(list(range(length)))
        assert [self.content[block] for block in blocks] == list(range(len(blocks)))
        self.pool.hold(blocks)
        return self.keep(blocks)

    @rule(blocks=held)
    def remember(self, blocks: list[int]) -> None:
        if blocks in self.holdings:
            for hash_, block in enumerate(blocks):
                if block not in self.content:
                    self.pool.remember(block, hash_)
                    if self.pool.match([hash_]) == [block]:
                        self.content[block] = hash_

    @rule(blocks=consumes(held))
    def release(self, blocks: list[int]) -> None:
        if blocks in self.holdings:
            self.holdings.remove(blocks)
            self.pool.release(blocks)

    @rule(blocks=held, owner=st.sampled_from("xy"))
    def pin(self, blocks: list[int], owner: str) -> None:
        if blocks in self.holdings:
            self.pins[owner] = blocks
            self.pool.pin(owner, blocks)

    @rule(owner=st.sampled_from("xy"))
    def unpin(self, owner: str) -> None:
        self.pins.pop(owner, None)
        self.pool.unpin(owner)

    @invariant()
    def counts_match_holders(self) -> None:
        expected = [0] * 8
        for blocks in [*self.holdings, *self.pins.values()]:
            for block in blocks:
                expected[block] += 1
        assert self.pool.holders() == tuple(expected)
        assert self.pool.num_free == expected.count(0)
        assert all(self.pool.num_holders(block) == count for block, count in enumerate(expected) if count)


TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
