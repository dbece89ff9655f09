"""Shortest predicted output first, with ageing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.policies.serving.lengths import MostTokens
from headway.policies.serving.seats import Neighbours, Predict
from headway.policies.serving.state import InstanceState, RequestState


class ShortestFirst:
    """Starts who is predicted to need least first; whoever waits moves forward with time, so that nobody starves.

    Those who were preempted stay in front, as everywhere: they hold up nobody for as long as they have already run.

    Parameters
    ----------
    prompt_weight : float
        How many output tokens a token of the prompt counts as, >= 0; 0.1, of the order of their prices.
    ageing_tokens_per_s : float
        By how many tokens a request is taken to be shorter for each second that it waits, >= 0; 5, with which the
        longest answers of a chat wait some minutes at most behind short ones.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: shortest job first (Smith, "Various optimizers for single-stage production", 1956) by predicted lengths; the
    ageing is this project's. It shows what a predictor (`serving/castillo`) is worth to a policy that ranks by lengths.

    Cost: O(waiting log waiting) and a prediction for each, per step.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> instance = InstanceState("gpu", BlockPool(64), num_layers=2)
    >>> for name, most in (("long", 500), ("short", 20)):
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=10, max_tokens=most)
    ...     instance.waiting[name] = RequestState(request)
    >>> [state.id for state in ShortestFirst().queue(instance, 1.0)]
    ['short', 'long']
    """

    def __init__(self, *, prompt_weight: float = 0.1, ageing_tokens_per_s: float = 5.0) -> None:
        for name, value in (("prompt_weight", prompt_weight), ("ageing_tokens_per_s", ageing_tokens_per_s)):
            if not value >= 0:
                raise ConfigError(f"serving/shortest-first: {name} must be >= 0, got {value}. Try the default.")
        self.prompt_weight = prompt_weight
        self.ageing_tokens_per_s = ageing_tokens_per_s
        self._predict: Predict = MostTokens()

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def join(self, stack: Neighbours) -> None:
        """Use the stack's predictor."""
        self._predict = stack.predict

    def queue(self, instance: InstanceState, now_s: Seconds) -> Iterable[RequestState]:
        """Return those who wait, shortest first."""
        waiting = list(instance.waiting.values())
        if len(waiting) < 2:
            return waiting
        return sorted(waiting, key=lambda state: self._key(state, now_s))

    def _key(self, state: RequestState, now_s: Seconds) -> tuple[bool, float]:
        left = self._predict.output_tokens(state) - state.output_tokens + self.prompt_weight * state.left_tokens
        return not state.num_preempted, left - self.ageing_tokens_per_s * (now_s - state.request.arrival_s)
