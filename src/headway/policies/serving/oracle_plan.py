"""What a clairvoyant works out before each step: who can still be good, how long the step may be, how much fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from headway.core.nouns import Seconds
from headway.policies.serving.pace import Pace, Shape, pairs
from headway.policies.serving.state import InstanceState, RequestState

MARGIN = 0.97
"""The share of the time there is that is planned with: pace is an estimate."""


class Prompt(NamedTuple):
    """A prompt that is to be computed.

    Parameters
    ----------
    state : RequestState
        Whose it is.
    left : int
        Tokens of it that are to be computed.
    due_s : float
        When its first token must be there, and infinite where nothing was promised.
    work : float
        How much it takes in all, in tokens of prompts.
    """

    state: RequestState
    left: int
    due_s: Seconds
    work: float


def first_due_s(state: RequestState, tokens: int, gap_s: Seconds) -> Seconds:
    """Return when a request needs its first token, if `tokens` come `gap_s` apart from then on."""
    promise, sent_s = state.promise, state.request.arrival_s
    return sent_s + min(promise.ttft_s, promise.e2e_s - (tokens - 1) * gap_s)


def last_due_s(state: RequestState, tokens: int) -> Seconds:
    """Return when a request that was given its first token needs its last one."""
    promise, first_s = state.promise, state.first_token_s
    gaps_s = math.inf if first_s is None else first_s + (tokens - 1) * promise.tpot_s
    return min(gaps_s, state.request.arrival_s + promise.e2e_s)


def longest_step_s(
    decodes: Iterable[RequestState], tokens: Callable[[RequestState], int], least_s: Seconds, now_s: Seconds
) -> Seconds:
    """Return how long steps may be in the mean, from now on, for all decodes to end in time that still can.

    Parameters
    ----------
    decodes : iterable of RequestState
        Those that get a token in each step.
    tokens : callable of RequestState -> int
        How many each comes to.
    least_s : float
        The shortest step there is; who would need shorter ones is past saving.
    now_s : float
        The present.
    """
    longest_s = math.inf
    for state in decodes:
        total = tokens(state)
        mean_s = (last_due_s(state, total) - now_s) / max(1, total - state.output_tokens)
        if mean_s >= least_s:
            longest_s = min(longest_s, mean_s)
    return longest_s


def most_tokens(pace: Pace, instance: InstanceState, num: int, context: int, longest_s: Seconds, most: int) -> int:
    """Return how many tokens of prompts fit into a step beside some decodes, at most `most`."""

    def fits(tokens: int) -> bool:
        return pace.step_s(instance, Shape(num, context, tokens, pairs(tokens, 0))) <= MARGIN * longest_s

    if math.isinf(longest_s) or fits(most):
        return most
    low, high = 0, most
    while high - low > max(8, low // 32):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def timely(prompts: Sequence[Prompt], tokens_per_s: float, now_s: Seconds) -> tuple[list[Prompt], list[Prompt]]:
    """Return the most prompts that can all be there in time, earliest due first, and the others, least work first.

    The rule of Moore and Hodgson: go through them by due date; whenever one comes too late, leave out the one that
    takes the most work of those so far.
    """
    kept: list[Prompt] = []
    left_out: list[Prompt] = []
    end_s = now_s
    for prompt in sorted(prompts, key=lambda one: (one.due_s, one.work)):
        kept.append(prompt)
        end_s += prompt.left / tokens_per_s
        if end_s > prompt.due_s:
            longest = max(kept, key=lambda one: one.work)
            kept.remove(longest)
            left_out.append(longest)
            end_s -= longest.left / tokens_per_s
    return kept, sorted(left_out, key=lambda one: one.work)
