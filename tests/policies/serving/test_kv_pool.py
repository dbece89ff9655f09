"""The pool beyond the instances: what leaves it first, and that instances fetch from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.actions import Move, Start
from headway.core.errors import ConfigError
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.kv_pool import KvPool, S3Fifo
from headway.policies.serving.nouns import Piece, Request, Step
from headway.policies.serving.state import InstanceState


def test_what_nobody_asks_for_passes_through() -> None:
    cache = S3Fifo(10, 0.3)
    for entry in range(10):
        cache.add(entry)
    for entry in (0, 1, 2):
        cache.hit(entry)
    for scan in range(100, 120):
        cache.add(scan)
    assert all(entry in cache for entry in (0, 1, 2))  # promoted, and the scan went by
    assert not any(entry in cache for entry in range(3, 10))
    assert len(cache) == 10


def test_who_comes_back_soon_is_taken_for_good() -> None:
    cache = S3Fifo(10, 0.3)
    for entry in range(12):
        cache.add(entry)
    assert 0 not in cache
    cache.add(0)  # a ghost
    for scan in range(100, 120):
        cache.add(scan)
    assert 0 in cache


def test_the_large_queue_lets_go_of_what_is_no_longer_asked_for() -> None:
    cache = S3Fifo(4, 0.25)
    for entry in range(4):
        cache.add(entry)
        cache.hit(entry)
    for entry in range(4, 40):
        cache.add(entry)
        cache.hit(entry)
    assert not any(entry in cache for entry in range(4))
    assert len(cache) <= 4


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=300), st.integers(1, 12), st.floats(0.01, 1.0))
def test_it_never_holds_more_than_its_capacity(ops: list[tuple[int, bool]], capacity: int, small_frac: float) -> None:
    cache = S3Fifo(capacity, small_frac)
    for entry, hits in ops:
        if entry not in cache:
            cache.add(entry)
            assert entry in cache
        elif hits:
            cache.hit(entry)
        assert 0 < len(cache) <= capacity


def test_only_leading_blocks_match_and_nothing_comes_in_amid_a_decision() -> None:
    pool = KvPool(8)
    for hash_ in (1, 2, 4):
        pool.put(hash_)
    assert pool.match((1, 2, 3, 4)) == 0
    pool.settle()
    assert pool.match((1, 2, 3, 4)) == 2
    assert len(pool) == 3


def test_a_pool_needs_room() -> None:
    with pytest.raises(ConfigError, match="num_blocks must be >= 1"):
        KvPool(0)
    with pytest.raises(ConfigError, match="small_frac"):
        KvPool(1, small_frac=0.0)


class Two:
    """Two instances that share a pool."""

    def __init__(self, takes_all: bool = True, num_blocks: int = 8) -> None:
        self.pool = KvPool(100, takes_all)
        instances = [InstanceState(name, BlockPool(num_blocks), num_layers=2) for name in "ab"]
        for instance in instances:
            instance.kv.beyond = self.pool
        self.board = ServingBoard(instances)

    def serve(self, id: str, on: str, hashes: tuple[int, ...]) -> int:
        """Serve a prompt of full blocks and one more token; returns how many tokens had to be computed."""
        request = Request(id=id, arrival_s=0.0, prompt_tokens=16 * len(hashes) + 1, max_tokens=1, hashes=hashes)
        state = self.board.add(request)
        assert self.board.apply(Move(id, on)) is None
        draft = InstanceDraft(self.board.instances[on])
        left = draft.start(state, state.known_tokens)
        assert left is not None
        (start,) = draft.actions
        assert isinstance(start, Start)
        assert self.board.apply(start) is None
        assert state.left_tokens == left
        assert self.board.instances[on].kv.num_free >= draft.free_blocks
        step = Step(instance=on, pieces=(Piece(id, left),))
        assert self.board.apply(step) is None
        self.board.advance(step, 1.0)
        finished = self.board.finish(id, "length", 1.0)
        assert finished.cached_tokens == request.prompt_tokens - left
        self.board.end(step)
        self.pool.settle()
        return left


def test_what_one_has_computed_the_other_fetches() -> None:
    two = Two()
    assert two.serve("x", "a", (1, 2, 3)) == 49
    assert two.serve("y", "b", (1, 2, 4)) == 17
    assert two.pool.num_fetched_blocks == 2
    assert two.serve("z", "b", (1, 2, 4)) == 1  # it is there by now
    assert two.pool.num_fetched_blocks == 2


def test_a_pool_that_takes_what_is_evicted_has_nothing_before() -> None:
    two = Two(takes_all=False, num_blocks=4)
    assert two.serve("x", "a", (1, 2, 3)) == 49
    assert two.serve("y", "b", (1, 2, 3)) == 49
    assert two.serve("z", "a", (7, 8, 9)) == 49  # makes 1, 2 and 3 leave
    assert two.serve("w", "b", (5, 6, 10)) == 49
    assert two.serve("v", "b", (1, 2, 3)) == 1
