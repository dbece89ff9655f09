"""Chains of block hashes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headway.engines.llm.loop.hashing import BlockHasher

TOKENS = st.lists(st.integers(0, 300), max_size=60)


@given(TOKENS, TOKENS, st.integers(1, 9))
def test_chains_agree_exactly_as_far_as_the_full_blocks_do(left: list[int], right: list[int], block_size: int) -> None:
    hasher = BlockHasher(block_size)
    a, b = hasher.chain(left), hasher.chain(right)
    assert len(a) == len(left) // block_size
    for index in range(min(len(a), len(b))):
        end = (index + 1) * block_size
        assert (a[index] == b[index]) == (left[:end] == right[:end])


@given(TOKENS, st.integers(1, 9), st.integers(0, 60))
def test_a_chain_may_be_built_in_portions(tokens: list[int], block_size: int, cut: int) -> None:
    hasher = BlockHasher(block_size)
    hashes = hasher.chain(tokens[:cut], "adapter")
    hasher.extend(hashes, tokens, "adapter")
    assert hashes == hasher.chain(tokens, "adapter")


def test_adapters_and_keys_have_chains_of_their_own() -> None:
    tokens = list(range(32))
    chains = [
        BlockHasher(16).chain(tokens),
        BlockHasher(16).chain(tokens, "a"),
        BlockHasher(16).chain(tokens, "b"),
        BlockHasher(16, key=b"secret").chain(tokens),
    ]
    assert len({chain[0] for chain in chains}) == len(chains)
    assert len({chain[1] for chain in chains}) == len(chains)


def test_hashes_are_the_same_in_every_process_without_a_key_and_fit_64_bits() -> None:
    hashes = BlockHasher(4).chain([1, 2, 3, 4])
    assert hashes == BlockHasher(4).chain([1, 2, 3, 4])
    assert all(-(2**63) <= hash_ < 2**63 for hash_ in BlockHasher(1).chain(range(1000)))
