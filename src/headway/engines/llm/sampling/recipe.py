"""How the tokens of one request are sampled: what it asked for, and what sampling must remember between two tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from random import Random
from typing import Protocol

import numpy as np
import numpy.typing as npt

from headway.engines.llm.messages import Sampling

COLDEST = 1e-5
"""Below this temperature the likeliest token is taken; dividing by less overflows."""


class Matcher(Protocol):
    """Follows a grammar token by token."""

    def allowed(self) -> npt.NDArray[np.bool_]:
        """Return which tokens may come next, bool `[vocab]`."""

    def accept(self, token: int) -> None:
        """Note the token that came."""

    @property
    def finished(self) -> bool:
        """Whether the output is complete and nothing can follow."""

    @property
    def error(self) -> str:
        """Why the grammar cannot be followed any further; empty while it can."""


class Counts:
    """Which tokens a request has seen, and how often each was put out, in arrays that grow.

    Parameters
    ----------
    prompt : iterable of int
        Tokens seen before any output; counted zero times.
    """

    def __init__(self, prompt: Iterable[int] = ()) -> None:
        self._place = {token: place for place, token in enumerate(dict.fromkeys(prompt))}
        self._ids = np.fromiter(self._place, np.int64, len(self._place))
        self._counts = np.zeros(len(self._place), np.float32)

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """The tokens seen, int64 `[seen]`."""
        return self._ids[: len(self._place)]

    @property
    def counts(self) -> npt.NDArray[np.float32]:
        """How often each was put out, float32 `[seen]`."""
        return self._counts[: len(self._place)]

    def add(self, token: int) -> None:
        """Count one output token."""
        place = self._place.setdefault(token, len(self._place))
        if place == len(self._ids):
            room = np.zeros(max(64, place), np.int64)
            self._ids = np.concatenate([self._ids, room])
            self._counts = np.concatenate([self._counts, room.astype(np.float32)])
        self._ids[place] = token
        self._counts[place] += 1


class Recipe:
    """Sampling of one request.

    Parameters
    ----------
    sampling : Sampling
        What it asked for.
    prompt : sequence of int
        Its prompt.
    end_ids : iterable of int
        Tokens that end it; they are out of the question before `min_tokens`.
    seed : str or int
        Of its own random stream; the same seed gives the same tokens whatever else is in the batch.
    matcher : Matcher or None
        The grammar it must follow.

    Attributes
    ----------
    ended : str
        ``"stop"`` when the grammar is complete, ``"error"`` when the request cannot go on (see `why`), else empty.
    """

    __slots__ = (
        "bias_ids", "bias_values", "counts", "end_ids", "ended", "greedy", "matcher", "num_sampled", "random",
        "sampling", "why",
    )  # fmt: skip

    def __init__(
        self,
        sampling: Sampling,
        prompt: Sequence[int],
        end_ids: Iterable[int],
        seed: str | int,
        matcher: Matcher | None = None,
    ) -> None:
        self.sampling = sampling
        self.greedy = sampling.temperature < COLDEST
        self.random = Random(seed)
        self.matcher = matcher
        self.end_ids = list(end_ids) if sampling.min_tokens else []
        self.bias_ids = list(sampling.logit_bias)
        self.bias_values = list(sampling.logit_bias.values())
        self.counts = _counts(sampling, prompt)
        self.num_sampled = 0
        self.ended = self.why = ""

    @property
    def log_min_p(self) -> float:
        """Logarithm of `min_p`; minus infinity when it is off."""
        return math.log(self.sampling.min_p) if self.sampling.min_p > 0 else -math.inf

    @property
    def ranked(self) -> bool:
        """Whether only the likeliest tokens are drawn from (top_k or top_p)."""
        return self.sampling.top_k > 0 or self.sampling.top_p < 1

    @property
    def forbids_end(self) -> bool:
        """Whether it is too early to end."""
        return self.num_sampled < self.sampling.min_tokens and bool(self.end_ids)

    def note(self, token: int) -> None:
        """Remember the token that was chosen."""
        self.num_sampled += 1
        if self.counts is not None:
            self.counts.add(token)
        if self.matcher is not None and not self.ended:
            self.matcher.accept(token)
            if self.matcher.error:
                self.fail(f"the grammar cannot be followed: {self.matcher.error}")
            elif self.matcher.finished:
                self.ended = "stop"

    def fail(self, why: str) -> None:
        """Give the request up."""
        self.ended, self.why = "error", why


def plain(sampling: Sampling) -> bool:
    """Whether the likeliest token is all that is asked for, so that no `Recipe` is needed."""
    return (
        sampling.temperature < COLDEST
        and sampling.logprobs is None
        and sampling.grammar is None
        and not sampling.min_tokens
        and not sampling.logit_bias
        and not _penalised(sampling)
    )


def _penalised(sampling: Sampling) -> bool:
    return bool(sampling.repetition_penalty != 1 or sampling.presence_penalty or sampling.frequency_penalty)


def _counts(sampling: Sampling, prompt: Sequence[int]) -> Counts | None:
    if not _penalised(sampling):
        return None
    return Counts(prompt if sampling.repetition_penalty != 1 else ())
