"""Routing by cached prefixes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.actions import Move
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.session import Session
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.prefix_route import PrefixRoute
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.world import ServingWorld
from policies.serving.making import request

CHAIN = (1, 2, 3, 4)


def board(*names: str, **num_blocks: int) -> ServingBoard:
    sizes = dict.fromkeys(names, 64) | num_blocks
    return ServingBoard([InstanceState(name, BlockPool(size), num_layers=2) for name, size in sizes.items()])


def cached(view: ServingBoard, instance: str, *hashes: int) -> None:
    """Let an instance have computed a prefix, and let go of it."""
    kv = view.instances[instance].kv
    blocks = kv.allocate(len(hashes))
    for block, hash_ in zip(blocks, hashes, strict=True):
        kv.remember(block, hash_)
    kv.release(blocks)


def loaded(view: ServingBoard, instance: str, num: int) -> None:
    for index in range(num):
        name = f"{instance}{index}"
        view.add(request(name))
        assert view.apply(Move(name, instance)) is None


def asking(prompt: int = 70, hashes: tuple[int, ...] = CHAIN, most: int = 10) -> RequestState:
    return RequestState(request("new", prompt, most, hashes=hashes))


def test_the_longest_prefix_attracts() -> None:
    view = board("a", "b", "c")
    cached(view, "b", 1, 2, 3)
    cached(view, "c", 1, 2)
    loaded(view, "b", 20)
    assert PrefixRoute().pick(asking(), view) == "b"


def test_of_equal_matches_the_less_loaded_is_taken() -> None:
    view = board("a", "b", "c")
    for name in "bc":
        cached(view, name, *CHAIN)
    loaded(view, "b", 2)
    loaded(view, "c", 1)
    assert PrefixRoute().pick(asking(), view) == "c"


def test_a_prefix_counts_from_the_front_only() -> None:
    view = board("a", "b")
    cached(view, "b", 2, 3, 4)
    loaded(view, "b", 1)
    assert PrefixRoute().pick(asking(), view) == "a"


def test_too_short_a_match_is_not_worth_a_longer_queue() -> None:
    view = board("a", "b")
    cached(view, "b", 1)
    loaded(view, "b", 1)
    assert PrefixRoute().pick(asking(prompt=160), view) == "a"
    assert PrefixRoute(min_match_frac=0.1).pick(asking(prompt=160), view) == "b"


def test_who_is_too_far_ahead_does_not_count_while_others_still_do() -> None:
    view = board("a", "b", "c")
    cached(view, "b", *CHAIN)
    cached(view, "c", 1, 2)
    loaded(view, "b", 5)
    loaded(view, "c", 4)
    assert PrefixRoute(max_more=5).pick(asking(), view) == "b"
    assert PrefixRoute(max_more=4).pick(asking(), view) == "c"
    assert PrefixRoute(max_more=3).pick(asking(), view) == "a"


def test_either_bound_is_enough() -> None:
    view = board("a", "b")
    cached(view, "b", *CHAIN)
    loaded(view, "a", 4)
    loaded(view, "b", 6)
    assert PrefixRoute(max_more=0, max_times=1.5).pick(asking(), view) == "b"
    assert PrefixRoute(max_more=2, max_times=1.0).pick(asking(), view) == "b"
    assert PrefixRoute(max_more=1, max_times=1.4).pick(asking(), view) == "a"


def test_without_hashes_or_a_match_the_least_loaded_is_taken() -> None:
    view = board("a", "b")
    cached(view, "a", *CHAIN)
    loaded(view, "a", 1)
    assert PrefixRoute().pick(asking(hashes=()), view) == "b"
    assert PrefixRoute(min_match_frac=0.0).pick(asking(hashes=(9,)), view) == "b"


def test_the_last_token_must_be_computed_so_a_prompt_that_is_cached_whole_counts_one_block_less() -> None:
    view = board("a", "b")
    cached(view, "b", 1)
    loaded(view, "b", 1)
    assert PrefixRoute().pick(asking(prompt=16, hashes=(1,)), view) == "a"
    assert PrefixRoute().pick(asking(prompt=17, hashes=(1,)), view) == "b"


def test_only_who_can_hold_the_request_is_asked() -> None:
    view = board("a", b=4)
    cached(view, "b", 1, 2, 3)
    assert PrefixRoute().pick(asking(), view) == "a"


@given(
    caches=st.lists(st.sets(st.integers(1, 6)), min_size=1, max_size=5),
    loads=st.lists(st.integers(0, 6), min_size=5, max_size=5),
    max_more=st.integers(0, 6),
    min_match_frac=st.sampled_from([0.0, 0.3, 0.7]),
)
def test_it_is_the_longest_match_within_bounds_whatever_is_cached_where(
    caches: list[set[int]], loads: list[int], max_more: int, min_match_frac: float
) -> None:
    view = board(*(f"i{n}" for n in range(len(caches))))
    for n, hashes in enumerate(caches):
        cached(view, f"i{n}", *sorted(hashes))
        loaded(view, f"i{n}", loads[n])
    loads = loads[: len(caches)]
    fewest = min(loads)
    matched = [next(k for k in range(7) if k + 1 not in hashes or k == 6) for hashes in caches]
    near = [n for n, load in enumerate(loads) if load <= max(fewest + max_more, 1.5 * fewest)]
    best = max(near, key=lambda n: (matched[n], -loads[n], -n))
    if matched[best] * 16 < min_match_frac * 100:
        best = loads.index(fewest)
    route = PrefixRoute(max_more=max_more, min_match_frac=min_match_frac)
    assert route.pick(asking(prompt=100, hashes=(1, 2, 3, 4, 5, 6)), view) == f"i{best}"


@pytest.mark.parametrize("wrong", [{"min_match_frac": 1.1}, {"max_more": -1}, {"max_times": 0.5}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="serving/prefix-route: " + next(iter(wrong))):
        PrefixRoute(**wrong)  # type: ignore[arg-type]


def hit_tokens(stack: Stack) -> tuple[int, int]:
    """Play requests with shared prefixes on four instances; return tokens found in caches, and requests served."""
    requests = RandomRequests(num_requests=200, shared_frac=0.9, num_prefixes=8, prefix_blocks=6).draw(0)
    instances = [InstanceState(f"i{n}", BlockPool(120), num_layers=2) for n in range(4)]
    world = ServingWorld(requests, instances)
    simulate(world, stack, session=Session(stack, world.view, seed=0))
    return sum(instance.kv.num_hit_tokens for instance in instances), world.num_ended


def test_more_is_found_in_caches_than_with_routing_by_load() -> None:
    by_prefix, num_ended = hit_tokens(Stack(batch=SarathiServe(), route=PrefixRoute()))
    by_load, _ = hit_tokens(Stack(batch=SarathiServe()))
    assert num_ended == 200
    assert by_prefix > 1.2 * by_load


def test_there_is_nothing_to_forget() -> None:
    view, route = board("a", "b"), PrefixRoute()
    route.reset(np.random.default_rng(0))
    assert route.pick(asking(), view) == "a"
