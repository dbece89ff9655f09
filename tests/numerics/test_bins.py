"""Packing into bins."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.numerics.bins import first_fit, pack, rounded_up

ITEMS = st.lists(st.tuples(st.integers(1, 20), st.sampled_from("ab")), min_size=1, max_size=7)


def taken(items: list[int], sizes: list[int], kinds: list[str], multiple: int) -> int:
    return sum(
        rounded_up(sum(sizes[item] for item in items if kinds[item] == kind), multiple)
        for kind in {kinds[item] for item in items}
    )


def best(sizes: list[int], kinds: list[str], capacity: int, multiple: int) -> tuple[int, int]:
    """Try every way to share the items out; returns the fewest bins, and then the smallest last one."""
    found = (len(sizes) + 1, 0)
    for way in itertools.product(range(len(sizes)), repeat=len(sizes)):
        bins = [[item for item in range(len(sizes)) if way[item] == one] for one in set(way)]
        loads = [taken(one, sizes, kinds, multiple) for one in bins]
        if max(loads) <= capacity:
            found = min(found, (len(bins), min(loads)))
    return found


@given(items=ITEMS, multiple=st.sampled_from([1, 4]), nodes=st.sampled_from([0, 3, 500]))
def test_every_item_lies_in_one_bin_that_has_room(items: list[tuple[int, str]], multiple: int, nodes: int) -> None:
    sizes, kinds = [size for size, _ in items], [kind for _, kind in items]
    bins = pack(sizes, kinds, 24, multiple=multiple, max_nodes=nodes)
    assert sorted(item for one in bins for item in one) == list(range(len(items)))
    loads = [taken(one, sizes, kinds, multiple) for one in bins]
    assert max(loads) <= 24
    assert loads[-1] == min(loads)
    assert len(bins) <= len(first_fit(sizes, kinds, 24, multiple=multiple))


@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize("seed", range(6))
def test_a_full_search_finds_the_best(seed: int, multiple: int) -> None:
    sizes = [3 + (seed * 7 + nth * 5) % 11 for nth in range(6)]
    kinds = ["ab"[(seed + nth) % 2] for nth in range(6)]
    bins = pack(sizes, kinds, 20, multiple=multiple, max_nodes=100_000)
    found = (len(bins), taken(bins[-1], sizes, kinds, multiple))
    assert found == best(sizes, kinds, 20, multiple)


def test_the_search_needs_fewer_bins_than_first_fit() -> None:
    sizes, kinds = [4, 4, 3, 3, 3, 3], ["a"] * 6
    assert len(first_fit(sizes, kinds, 10)) == 3
    assert len(pack(sizes, kinds, 10, max_nodes=100)) == 2


def test_what_fits_nowhere_is_an_error() -> None:
    with pytest.raises(ConfigError, match="got one of 9, rounded up to a multiple of 8, and bins of 15"):
        pack([3, 9], ["a", "a"], 15, multiple=8)
