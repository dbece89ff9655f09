"""Continuum with another time to live, to find out what its own is worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headway.core.actions import Action
from headway.core.events import Failed
from headway.core.nouns import Id, Seconds
from headway.policies.serving.continuum import Continuum
from headway.policies.serving.nouns import RequestArrived, RequestFinished
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState


class DearerReload(Continuum):
    """Takes it that computing a context again costs several times what it takes alone, for it holds up all others.

    Parameters
    ----------
    times : float
        How many times, > 0; 1, as `Continuum`.
    """

    def __init__(self, *, times: float = 1.0) -> None:
        super().__init__()
        self.times = times
        self.told_s: list[Seconds] = []

    def reset(self, rng: np.random.Generator) -> None:
        """Forget what was told, too."""
        super().reset(rng)
        self.told_s = []

    def ttl_s(self, instance: InstanceState, tool: str, context_tokens: int) -> Seconds:
        """Return the time to live, and note it."""
        self.told_s.append(super().ttl_s(instance, tool, context_tokens))
        return self.told_s[-1]

    def _reload_s(self, instance: InstanceState, tokens: int) -> Seconds:
        return self.times * super()._reload_s(instance, tokens)


class KnowsPauses(Continuum):
    """Knows when the next turn of a session will come, and keeps its memory until then if that is worth it.

    Parameters
    ----------
    pauses_s : mapping of str to float
        How long the tool takes that a request calls, in seconds, by request.
    """

    def __init__(self, *, pauses_s: Mapping[Id, Seconds]) -> None:
        super().__init__()
        self.pauses_s = pauses_s
        self._ending: Id = ""

    def _ended(self, arrived: RequestArrived, event: RequestFinished | Failed, view: ServingView) -> list[Action]:
        self._ending = event.id
        return super()._ended(arrived, event, view)

    def ttl_s(self, instance: InstanceState, tool: str, context_tokens: int) -> Seconds:  # noqa: ARG002
        """Return how long the tool will take, and a little more; 0 where that is not worth it."""
        pause_s = self.pauses_s.get(self._ending, 0.0)
        return pause_s + 1e-3 if pause_s < self.benefit_s(instance, context_tokens) else 0.0
