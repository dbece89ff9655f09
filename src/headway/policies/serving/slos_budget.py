"""What prompts can be given beside decodes that keep their lines: the budget function of SLOs-Serve.

Source: "SLOs-Serve: Optimized Serving of Multi-SLO LLMs", arXiv 2504.08784: batch times, their inverse, and the plan of
speculation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.core.nouns import Seconds
from headway.policies.serving.pace import KNEES

Floats = NDArray[np.float64]

MOST_DRAFTED = 10
"""Tokens drafted at once at most, as in the paper."""
COUNTED_ON_FRAC = 0.5
"""How much of what drafts bring on average is counted on: who is less lucky must be in time as well."""


class Load(NamedTuple):
    """Decodes that have a line to keep, by tier.

    Parameters
    ----------
    tpot_s : tuple of float
        Time per output token of each tier, in seconds, > 0 and rising.
    num : tuple of float
        How many decode in each.
    context_tokens : tuple of float
        What those of each tier attend to, in total.
    """

    tpot_s: tuple[Seconds, ...]
    num: tuple[float, ...]
    context_tokens: tuple[float, ...]


class Draft(NamedTuple):
    """What is drafted.

    Parameters
    ----------
    num : sequence of ndarray
        Tokens for each request, by tier.
    right_frac : float
        The share of drafted tokens that prove right, in [0, 1].
    """

    num: Sequence[Floats]
    right_frac: float


class Plan(NamedTuple):
    """How steps are cut while decodes keep their lines.

    Parameters
    ----------
    period_s : float
        How long a step may take, in seconds.
    drafts : tuple of int
        How many tokens are drafted for a request of each tier; 0 for none.
    prefill_per_s : float
        Tokens of prompts that can be computed beside them, per second; negative when they cannot even keep their lines.
    """

    period_s: Seconds
    drafts: tuple[int, ...]
    prefill_per_s: float


class Budget:
    """The inverse of the time of a step.

    Parameters
    ----------
    slopes : sequence of float
        Of the time, in seconds, as `Pace.marginal_s` has them: per step, per token, per token above each knee, per
        token of context, per pair of a prompt's tokens, per pass of the draft model.
    safety_frac : float
        The share of every period that is kept in reserve, in [0, 1).
    mean_context : float
        How many tokens a token of a prompt attends to on average, >= 0.
    idle_period_s : float
        How long a step may take while nobody decodes, in seconds, > 0.
    """

    def __init__(
        self, slopes: Sequence[Seconds], *, safety_frac: float, mean_context: float, idle_period_s: Seconds
    ) -> None:
        self.step_s, self.token_s = slopes[0], slopes[1]
        self.context_s, self.pair_s, self.draft_s = slopes[4], slopes[5], slopes[6]
        starts = (0.0, *map(float, KNEES))
        rises = (sum(slopes[1 : 2 + index]) for index in range(len(starts)))
        self._parts = tuple(zip(starts, (*starts[1:], np.inf), rises, strict=True))
        self._safety_frac = safety_frac
        self.mean_context = mean_context
        self.idle_period_s = idle_period_s

    def time_s(self, tokens: float, context_tokens: float, passes: int = 0) -> Seconds:
        """Return how long a step takes, reserve included, without what prompts attend to."""
        total_s = self.step_s + self.context_s * context_tokens + self.draft_s * passes
        for start, end, slope in self._parts:
            total_s += min(max(0.0, tokens - start), end - start) * slope
        return total_s / (1 - self._safety_frac)

    def attention_s(self, tokens: int, context_tokens: int) -> Seconds:
        """Return what the attention of a chunk of a prompt adds to `time_s`, reserve included."""
        return self.pair_s * tokens * (context_tokens + tokens / 2) / (1 - self._safety_frac)

    def chunk_tokens(self, rest_s: Seconds, others: float, context_tokens: int) -> int:
        """Return how long a chunk, after `context_tokens` of its prompt, can join in so much time."""
        rest_s *= 1 - self._safety_frac
        found, pair_s = 0.0, self.pair_s
        for start, end, slope in self._parts:
            width = end - max(start, others + found)
            if width <= 0 or rest_s <= 0:
                continue
            line = max(slope + pair_s * (context_tokens + found), 1e-12)
            # Each token attends to one more than the one before: line * x + pair_s * x^2 / 2 = rest_s.
            more = 2 * rest_s / (line + math.sqrt(line * line + 2 * pair_s * rest_s))
            if more < width:
                return int(found + more)
            rest_s -= line * width + pair_s * width * width / 2
            found += width
        return int(found)

    def room(self, period_s: Floats, tokens: Floats, context_tokens: Floats, passes: Floats) -> Floats:
        """Return how many tokens of prompts fit into steps beside so many others; negative when these do not fit."""
        rest_s = period_s * (1 - self._safety_frac) - self.step_s - self.draft_s * passes
        rest_s = rest_s - self.context_s * context_tokens
        found = np.zeros_like(rest_s)
        for start, end, slope in self._parts:
            rest_s = rest_s - np.clip(tokens - start, 0.0, end - start) * slope
        short = rest_s < 0
        for start, end, slope in self._parts:
            line = max(slope + self.pair_s * self.mean_context, 1e-12)
            more = np.minimum(np.maximum(end - np.maximum(start, tokens), 0.0), np.maximum(rest_s, 0.0) / line)
            found = found + more
            rest_s = rest_s - more * line
        return np.where(short, -1.0, found)

    def rates(self, load: Load, more: Sequence[Floats], each: Sequence[float], draft: Draft) -> Floats:
        """Return the prompt tokens per second beside a load and `more` decodes in each tier; negative: not even those.

        Parameters
        ----------
        load : Load
            Who decodes now.
        more : sequence of ndarray
            How many decode besides, by tier; all of one shape `[...]`.
        each : sequence of float
            What each of these attends to, by tier.
        draft : Draft
            What is drafted for whom.

        Returns
        -------
        ndarray
            `[...]`
        """
        period_s = self.period_s(load, more, draft)
        tokens, context = np.zeros_like(period_s), np.zeros_like(period_s)
        for tpot_s, num, held, extra, mean, drafted in zip(*load, more, each, draft.num, strict=True):
            share = np.minimum(1.0, period_s / (tpot_s * given(drafted, draft.right_frac)))  # of steps it takes part in
            tokens = tokens + (num + extra) * share * (1 + drafted)
            context = context + (held + extra * mean) * share
        return self.room(period_s, tokens, context, np.maximum.reduce(draft.num)) / period_s

    def period_s(self, load: Load, more: Sequence[Floats], draft: Draft) -> Floats:
        """Return how long steps may take: until the most urgent tier needs its next, and no longer than an idle one."""
        found = np.asarray(self.idle_period_s)
        for tpot_s, num, extra, drafted in zip(load.tpot_s, load.num, more, draft.num, strict=True):
            needs_s = np.where(num + extra > 0, tpot_s * given(drafted, draft.right_frac), np.inf)
            found = np.minimum(found, needs_s)
        return found

    def best(self, load: Load, right_frac: float, speculates: bool) -> Plan:
        """Return the plan that leaves most for prompts: without drafts, or with so many for each tier."""
        num_tiers = len(load.tpot_s)
        choices = _choices(num_tiers) if speculates and any(load.num) else np.zeros((num_tiers, 1))
        nobody = [np.zeros(())] * num_tiers
        draft = Draft(list(choices), right_frac)
        rates = self.rates(load, nobody, (0.0,) * num_tiers, draft)
        chosen = int(np.argmax(rates))  # the first of equals drafts least
        period_s = np.broadcast_to(self.period_s(load, nobody, draft), rates.shape)
        return Plan(float(period_s[chosen]), tuple(choices[:, chosen].astype(int).tolist()), float(rates[chosen]))


def given(drafted: Floats, right_frac: float) -> Floats:
    """Return how many tokens a request is counted on to be given when so many are drafted for it."""
    mean = drafted + 1.0 if right_frac >= 1 else (1 - right_frac ** (drafted + 1)) / (1 - right_frac)
    return 1.0 + COUNTED_ON_FRAC * (mean - 1.0)


@functools.cache
def _choices(num_tiers: int) -> Floats:
    """Return the drafts that are tried, `[tiers, choices]`: all lengths in one tier, fewer in several."""
    lengths = {1: tuple(range(MOST_DRAFTED + 1)), 2: (0, 1, 2, 3, 4, 6, 8, 10)}.get(num_tiers, (0, 2, 5))
    return np.array(list(product(lengths, repeat=num_tiers)), dtype=np.float64).T
