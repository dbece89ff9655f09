"""Virtual time in which a step takes as long as the live one that began then: what is off is the fault of the world."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from headway.core.actions import Action
from headway.core.events import Event
from headway.core.policy import Policy
from headway.policies.serving.nouns import Step
from headway.policies.serving.seats import ServingView
from headway.sim.serving.place import Place
from headway.sim.serving.price import BatchShape, StepPrice
from headway.sim.serving.scenario import ServingScenario


class KnownPrice:
    """A price times how much longer than by it the live step took that began nearest to now.

    Parameters
    ----------
    price : StepPrice
        What a step costs in the mean.
    steps : sequence of (float, float, BatchShape)
        When the live ones began, how long they took and what they computed, in their order.
    start_s : float
        When virtual time began, by the clock of the steps.
    """

    def __init__(self, price: StepPrice, steps: Sequence[tuple[float, float, BatchShape]], start_s: float) -> None:
        self._price = price
        self._begin_s = np.array([begin_s for begin_s, _, _ in steps]) - start_s
        self._factors = [took_s / price.step_s(shape) for _, took_s, shape in steps]
        self.now_s = 0.0

    def step_s(self, shape: BatchShape) -> float:
        """Return the time of one run that begins now."""
        return self._price.step_s(shape) * self._factor()

    def decode_line(self, num_decodes: int) -> tuple[float, float]:
        """Return it for decodes alone."""
        base_s, per_token_s = self._price.decode_line(num_decodes)
        return base_s * self._factor(), per_token_s * self._factor()

    def _factor(self) -> float:
        after = int(np.searchsorted(self._begin_s, self.now_s))
        near = [place for place in (after - 1, after) if 0 <= place < len(self._begin_s)]
        return self._factors[min(near, key=lambda place: abs(self._begin_s[place] - self.now_s))]


@dataclass
class OneByOne:
    """A policy whose steps are run once, and which tells the price what time it is."""

    policy: Policy[ServingView]
    price: KnownPrice

    def reset(self, rng: np.random.Generator) -> None:
        """Begin anew."""
        self.policy.reset(rng)

    def decide(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Answer as the policy does."""
        self.price.now_s = event.at_s
        return self._once(self.policy.decide(event, view))

    def _once(self, actions: Iterable[Action]) -> Iterator[Action]:
        for action in actions:
            is_more = isinstance(action, Step) and action.repeat != 1
            yield msgspec.structs.replace(action, repeat=1) if is_more else action


class KnownScenario(ServingScenario):
    """A scenario whose instances have another price."""

    known: StepPrice

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The instances."""
        return tuple(_priced(place, self.known) for place in super().places)


def _priced(place: Place, price: Any) -> Place:
    return Place(place.id, place.spec, replace(place.replica, price=price), place.is_spare)
