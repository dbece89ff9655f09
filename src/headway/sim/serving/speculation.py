"""Speculative decoding in virtual time: which drafted tokens the served model would have chosen itself."""

from __future__ import annotations

import zlib

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.policies.serving.state import RequestState

_MASK = (1 << 64) - 1


class Speculation:
    """A draft model that guesses each token of an output with the same probability, independently.

    Whether it guesses a token is a property of that token: it does not depend on when, or by whom, it is asked. So
    all policies face the same draft model.

    Parameters
    ----------
    acceptance_frac : float
        The share of tokens that it guesses, in [0, 1].
    draft_s : float
        What one pass through the draft model adds to a step, in seconds, >= 0. A step takes as many passes as it drafts
        tokens for the request for which it drafts most.
    seed : int
        Of the guesses, >= 0.

    Raises
    ------
    ConfigError
        When a number is out of its range.

    Examples
    --------
    >>> from headway.policies.serving.nouns import Request
    >>> state = RequestState(Request(id="r", arrival_s=0.0, prompt_tokens=4, max_tokens=8))
    >>> Speculation(acceptance_frac=1.0).accepted(state, 3), Speculation(acceptance_frac=0.0).accepted(state, 3)
    (3, 0)
    """

    def __init__(self, *, acceptance_frac: float, draft_s: Seconds = 0.0, seed: int = 0) -> None:
        if not 0 <= acceptance_frac <= 1 or not draft_s >= 0 or seed < 0:
            raise ConfigError(
                f"speculation: acceptance_frac must be in [0, 1], draft_s and seed >= 0, got {acceptance_frac}, "
                f"{draft_s} and {seed}. Try 0.7, 0.001 and 0."
            )
        self.acceptance_frac = acceptance_frac
        self.draft_s = draft_s
        self._seed = seed
        self._bound = int(acceptance_frac * (1 << 64))

    def accepted(self, state: RequestState, drafted_tokens: int) -> int:
        """Return how many of the next `drafted_tokens` tokens of a request are guessed before the first that is not."""
        key = (zlib.crc32(state.id.encode()) << 20 ^ self._seed) & _MASK
        first = state.output_tokens
        for number in range(drafted_tokens):
            if _mixed(key + (first + number) * 0x9E3779B97F4A7C15) >= self._bound:
                return number
        return drafted_tokens


def _mixed(value: int) -> int:
    """Spread a number evenly over 64 bits (the finaliser of SplitMix64)."""
    value &= _MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31
