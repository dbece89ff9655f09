"""A seat that does nothing but move blocks, to see what moving them costs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headway.core.actions import Action
from headway.core.events import Event
from headway.policies.serving.nouns import Lend, Lent, StepDone
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState


class Shuttle:
    """Sends half of the oldest request of every instance to the next instance, and back, again and again.

    Parameters
    ----------
    tokens_per_step : int
        How many tokens move per step, >= 0; at 0 nothing does.
    """

    def __init__(self, *, tokens_per_step: int) -> None:
        self.tokens_per_step = tokens_per_step

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def steer(self, event: Event, view: ServingView) -> Iterator[Action]:
        """Let the next blocks go wherever none are on their way."""
        if self.tokens_per_step and isinstance(event, StepDone | Lent):
            instances = list(view.instances.values())
            for home, other in zip(instances, [*instances[1:], instances[0]], strict=True):
                yield from self._next(home, other, view)

    def _next(self, home: InstanceState, other: InstanceState, view: ServingView) -> Iterator[Lend]:
        state = next((state for state in home.running.values() if state.decoding), None)
        if state is None or any(loan.id in home.running for loan in view.lending.loans.values()):
            return
        if state.away_blocks:
            yield Lend(state.id, home.id, state.away_blocks, other.id, tokens_per_step=self.tokens_per_step)
        else:
            yield Lend(state.id, other.id, len(state.blocks) // 2, tokens_per_step=self.tokens_per_step)
