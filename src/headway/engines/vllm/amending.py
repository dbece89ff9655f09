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


def find(state: RequestState, computed_tokens: int) -> None:
    """Note how many tokens of a request that has just been started vLLM has found in its cache."""
    more = computed_tokens - state.computed_tokens
    if more:
        state.compute(more)
        if not state.num_preempted:
            state.cached_tokens = computed_tokens


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
