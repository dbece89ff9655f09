"""CASTILLO: predictors of response lengths, from the truth to nothing, as one seat."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event, Failed
from headway.core.nouns import Id
from headway.policies.serving.length_sources import (
    LengthSource,
    Regressed,
    SeenLengths,
    Told,
    bucketed,
    exact,
    mean_of_prompt,
    noisy,
)
from headway.policies.serving.nouns import Request, RequestArrived, RequestFinished
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import RequestState

Kind = Literal["quantile", "learned", "oracle", "oracle-mean", "noisy", "bucket", "none"]
TOLD = ("oracle", "oracle-mean", "noisy", "bucket")
"""The kinds that only worlds can serve."""


class Castillo:
    """Says how long an output will be: its mean, or a quantile, given how long it is already.

    Parameters
    ----------
    kind : str
        ``"quantile"``: as the latest outputs of the same client (tenant, class, adapter and stage); the default.
        ``"learned"``: a regression on prompt, tokens asked for, and client. ``"none"``: all that was asked for. These
        learn from outputs that have ended and work anywhere. The others are told the truth, in worlds that know it;
        a live engine refuses them: ``"oracle"``; ``"oracle-mean"``, the law of the prompt, of which the
        truth is one sample: the best that any predictor could be; ``"noisy"``; ``"bucket"``, a classifier.
    sigma : float
        Of the logarithm of a noisy prediction's error, >= 0; 0.5.
    within_sigma : float
        Of the logarithm of lengths of one prompt, >= 0; 0.25, an assumption: 10 samples of a prompt vary by 10 to 50%.
    between_sigma : float
        Of the logarithm of the medians of prompts, > 0; 0.7, an assumption.
    edges : tuple of int
        Lengths where the next bucket begins, rising, each >= 2; (64, 128, 256, 512, 1024).
    wrong_frac : float
        The share of requests that the classifier puts into a wrong bucket, in [0, 1]; 0.2.
    num_kept : int
        Outputs of a client that are remembered, >= 1; 512.
    num_least : int
        Outputs below which a client is taken to be like all, >= 1; 16.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Perez-Ramirez, Kostic, Boman, "CASTILLO: Characterizing Response Length Distributions of Large Language
    Models", 2025, arXiv 2505.16881: thirteen models, seven corpora, ten outputs to each prompt. Outputs to one prompt
    vary, so no predictor is exact, and policies are to be held against ``"oracle-mean"``.

    Faithful to the paper: it measures lengths and schedules nothing; what it says of them are the kinds here, and the
    lengths of kind ``"castillo"`` that traces can be made with. The kinds that learn are this project's. Left out:
    predictors that read the text of a prompt, which no scheduler here sees. Outputs that their sender cuts short teach
    nothing, and while a run is young those that have ended are the shorter ones.

    Not called reproduced: the publication compares no schedulers, and its lengths are not at hand. ``headway reproduce
    serving/castillo`` shows what such lengths lead one to expect: all directions hold; shortest first by the law of a
    prompt loses 3% against the truth where samples of a prompt vary by 0.25, and 11%, of the expected 5 to 20%, where
    they vary by 0.5.

    Cost: O(log outputs kept) per question; O(outputs kept) once after each output that ended.

    Examples
    --------
    >>> request = Request(id="r", arrival_s=0.0, prompt_tokens=100, max_tokens=400)
    >>> predict = Castillo()
    >>> predict.reset(np.random.default_rng(0))
    >>> predict.output_tokens(RequestState(request))
    400.0
    >>> for tokens in (10, 20, 30, 40):
    ...     predict.learn(request, tokens)
    >>> predict.output_tokens(RequestState(request)), predict.output_tokens(RequestState(request), 0.9)
    (25.0, 40.0)
    """

    def __init__(
        self,
        *,
        kind: Kind = "quantile",
        sigma: float = 0.5,
        within_sigma: float = 0.25,
        between_sigma: float = 0.7,
        edges: tuple[int, ...] = (64, 128, 256, 512, 1024),
        wrong_frac: float = 0.2,
        num_kept: int = 512,
        num_least: int = 16,
    ) -> None:
        rising = len(edges) > 0 and min(edges) >= 2 and all(a < b for a, b in pairwise(edges))
        _require("edges", "rising and each >= 2", edges, rising)
        _require("sigma", ">= 0", sigma, sigma >= 0)
        _require("within_sigma", ">= 0", within_sigma, within_sigma >= 0)
        _require("between_sigma", "> 0", between_sigma, between_sigma > 0)
        _require("wrong_frac", "in [0, 1]", wrong_frac, 0 <= wrong_frac <= 1)
        _require("num_kept", ">= 1", num_kept, num_kept >= 1)
        _require("num_least", ">= 1", num_least, num_least >= 1)
        self.kind = kind
        self.sigma = sigma
        self.within_sigma = within_sigma
        self.between_sigma = between_sigma
        self.edges = edges
        self.wrong_frac = wrong_frac
        self.num_kept = num_kept
        self.num_least = num_least
        self._rng = np.random.default_rng(0)
        self._ask: Callable[[Id], int] | None = None
        self._under_way: dict[Id, Request] = {}
        self._source: LengthSource = self._learner()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget all lengths."""
        self._rng = rng
        self._forget()
        if self._ask is not None:
            self.foretell(self._ask)

    def __getstate__(self) -> dict[str, Any]:
        """A copy knows the parameters, and neither the lengths nor who tells them."""
        return {**self.__dict__, "_ask": None, "_source": self._learner()}

    @property
    def foretells(self) -> bool:
        """Whether it is of a kind that is told the truth."""
        return self.kind in TOLD

    def foretell(self, ask: Callable[[Id], int]) -> None:
        """Keep a function that tells true lengths, for the kinds that are told."""
        self._ask, rng = ask, self._rng
        if self.kind == "oracle":
            self._source = Told(ask, exact)
        elif self.kind == "oracle-mean":
            self._source = Told(ask, mean_of_prompt(self.within_sigma, self.between_sigma, rng))
        elif self.kind == "noisy":
            self._source = Told(ask, noisy(self.sigma, rng))
        elif self.kind == "bucket":
            self._source = Told(ask, bucketed(self.edges, self.wrong_frac, rng))

    def output_tokens(self, state: RequestState, quantile: float | None = None) -> float:
        """Return how many output tokens a request will come to in all, in the mean or at a quantile."""
        have, most = state.output_tokens, state.request.max_tokens
        law = None if self.kind == "none" else self._source.law(state.request)
        if law is None:
            return float(max(most, have + 1))
        tokens = law.mean(have) if quantile is None else law.quantile(quantile, have)
        return float(max(min(tokens, most), have + 1))

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Learn from outputs that have ended; does nothing else."""
        if isinstance(event, RequestArrived):
            self._under_way[event.work.id] = event.work
        elif isinstance(event, RequestFinished | Failed):
            request = self._under_way.pop(event.id, None)
            if request is not None and isinstance(event, RequestFinished) and event.reason != "cancelled":
                self.learn(request, max(1, event.output_tokens))
        return ()

    def learn(self, request: Request, output_tokens: int) -> None:
        """Learn from one output that has ended."""
        self._source.learn(request, output_tokens)

    def _forget(self) -> None:
        self._under_way = {}
        self._source = self._learner()

    def _learner(self) -> LengthSource:
        return Regressed(self.num_least) if self.kind == "learned" else SeenLengths(self.num_kept, self.num_least)


def _require(name: str, must: str, got: object, fine: bool) -> None:
    if not fine:
        raise ConfigError(f"serving/castillo: {name} must be {must}, got {got}. Try the default.")
