"""How many tokens of prompts fit beside the decodes of a step, so that no decode falls behind its promise."""

from __future__ import annotations

import math

from headway.core.nouns import Seconds
from headway.policies.serving.pace import Pace, Shape, pairs
from headway.policies.serving.state import InstanceState, RequestState

RESOLUTION_TOKENS = 16
PAIRS = 5
"""Which of the slopes of a pace is that of pairs."""


def next_due_s(state: RequestState) -> Seconds:
    """Return when the next token of a decode is due, in seconds since the start of the run; never without a promise.

    Tokens are due at an even pace from the first on, so that early ones make up for later ones.
    """
    if state.first_token_s is None or state.promise.tpot_s == math.inf:
        return math.inf
    return state.first_token_s + state.output_tokens * state.promise.tpot_s


def room_tokens(pace: Pace, instance: InstanceState, limit_s: Seconds, most_tokens: int, before_tokens: int = 0) -> int:
    """Return how many tokens of prompts a step can compute beside all decodes within a time.

    Parameters
    ----------
    pace : Pace
        How long steps take.
    instance : InstanceState
        Where.
    limit_s : float
        How long the step may take, in seconds; infinity for no limit.
    most_tokens : int
        The most that are looked at, >= 0.
    before_tokens : int
        How many tokens of the same prompt are in memory, >= 0.

    Returns
    -------
    int
        From 0 to `most_tokens`.
    """
    if limit_s == math.inf:
        return most_tokens
    low, high = 0, most_tokens + 1
    while high - low > RESOLUTION_TOKENS:
        middle = (low + high) // 2
        if step_s(pace, instance, middle, before_tokens) <= limit_s:
            low = middle
        else:
            high = middle
    return low


def step_s(pace: Pace, instance: InstanceState, tokens: int, before_tokens: int = 0) -> Seconds:
    """Return how long a step of all decodes and of so many tokens of a prompt takes, after those that are computed."""
    decodes = instance.decodes
    return pace.step_s(instance, Shape(len(decodes), decodes.context_tokens, tokens, pairs(tokens, before_tokens)))


def pairs_s(pace: Pace, instance: InstanceState, tokens: int, before_tokens: int) -> Seconds:
    """Return how long the attention of a prompt's tokens to each other and to those before takes, in seconds."""
    return pace.marginal_s(instance)[PAIRS] * pairs(tokens, before_tokens)
