"""How a request takes memory of an instance, fills it, and gives it back."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.nouns import Seconds
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.state import InstanceState, RequestState


def take_memory(instance: InstanceState, state: RequestState, tokens: int) -> bool:
    """Give a request blocks for `tokens` tokens, those of a known prefix first; says whether there are enough."""
    kv = instance.kv
    hashes = state.hashes[: (state.known_tokens - 1) // kv.block_size] if state.hashes else []
    found = kv.match(hashes)
    count = max(0, kv.blocks_for(tokens) - len(found))
    if count + kv.num_cached_free(found) > kv.num_free:
        return False
    kv.hold(found)
    state.blocks = found + kv.allocate(count)
    state.block_size = kv.block_size
    state.remembered = len(found)
    num_fetched = _fetch(kv, hashes[len(found) : len(found) + count]) if kv.beyond is not None else 0
    num_found = (len(found) + num_fetched) * kv.block_size
    state.compute(max(num_found, state.swapped_tokens))
    state.swapped_tokens = 0
    kv.num_queried_tokens += state.known_tokens
    kv.num_hit_tokens += num_found
    if not state.num_preempted:  # what it finds later may be its own
        state.cached_tokens = num_found
    return True


def _fetch(kv: BlockPool, hashes: Sequence[int]) -> int:
    """Fetch what can be of a chain that is not here; returns how many blocks that is."""
    num = kv.num_beyond(hashes, 0)
    if num and kv.beyond is not None:
        kv.beyond.fetch(hashes[:num])
    return num


def remember(instance: InstanceState, state: RequestState) -> None:
    """Make the blocks that a request has filled findable, as far as their hashes are known."""
    kv = instance.kv
    full = state.computed_tokens // kv.block_size
    if state.later_hashes and len(state.hashes) < full:
        num = full - len(state.hashes)
        state.hashes += state.later_hashes[:num]
        state.later_hashes = state.later_hashes[num:]
    full = min(full, len(state.hashes))
    away = state.away_blocks
    for index in range(max(state.remembered, away), full):
        kv.remember(state.blocks[index - away], state.hashes[index])
    state.remembered = max(state.remembered, full)


def give_more(instance: InstanceState, state: RequestState, num: int, now_s: Seconds) -> None:
    """Note that `num` drafted tokens were right: they are known, and computed but for the last."""
    for _ in range(num):
        state.give(now_s)
    state.compute(num)
    if state.computed_tokens // instance.kv.block_size > state.remembered and (state.hashes or state.later_hashes):
        remember(instance, state)


def num_swapped_blocks(instance: InstanceState) -> int:
    """Blocks of the host's memory that swapped requests of an instance take up."""
    return sum(instance.kv.blocks_for(state.swapped_tokens) for state in instance.waiting.values())
