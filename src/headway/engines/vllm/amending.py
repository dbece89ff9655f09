"""Mending the books after vLLM has done something else than was planned.

The books of the board are what the policy decides by. vLLM has books of its own, and the last word: where a cached
prefix is gone, a limit of its own is reached or memory lacks, it computes less than it was asked to.
"""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.nouns import Id
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.state import InstanceState, RequestState
from headway.policies.serving.survey import Survey


def find(instance: InstanceState, state: RequestState, computed_tokens: int, tokens: int) -> None:
    """Note how many tokens of a request that has just been started vLLM has found, beside the `tokens` it computes."""
    more = computed_tokens - state.computed_tokens
    if more:
        short = computed_tokens + tokens - state.kv_tokens
        if short > 0:
            _book_more(instance, state, instance.kv.blocks_for(short))
        state.compute(more)
        if not state.num_preempted:
            state.cached_tokens = computed_tokens


def _book_more(instance: InstanceState, state: RequestState, num_blocks: int) -> None:
    """Give a request that was started with less memory than its prompt fills what vLLM has found for it.

    Where the books have no more to give, it stands for the rest with a block that it holds, several times.
    """
    kv = instance.kv
    twice = [state.blocks[0]] * max(0, num_blocks - kv.num_free)
    kv.hold(twice)
    state.blocks += kv.allocate(num_blocks - len(twice)) + twice


def shorten(instance: InstanceState, found: Survey, state: RequestState, tokens: int) -> None:
    """Note that a step under way computes no more than `tokens` of its piece of a request, or nothing of it."""
    if state.id in instance.decodes.members:
        instance.decodes.drop(state)
    else:
        rest = [replace(p, tokens=tokens) if p.request == state.id else p for p in found.rest]
        found.rest = tuple([piece for piece in rest if piece.tokens])
    if not tokens:
        instance.prefills[state.id] = state


def rest(instance: InstanceState, state: RequestState) -> None:
    """Let a request that has all its tokens keep its memory, and be in no step, until vLLM says that it has ended."""
    del instance.running[state.id]
    instance.prefills.pop(state.id, None)
    instance.flying[state.id] = state


def put_back(board: ServingBoard, request: Id) -> None:
    """Let a request wait again that could not be started."""
    state = board.requests[request]
    board.requeue(state)
    state.num_preempted -= 1
