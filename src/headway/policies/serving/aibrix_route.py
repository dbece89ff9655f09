"""AIBrix's routing strategies that look at load: who of several instances gets a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from headway.core.actions import Action
from headway.core.events import Event
from headway.core.nouns import Id
from headway.policies.serving.aibrix_gateway import Ended, Gateway, mean
from headway.policies.serving.pace import Pace
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState

Instances = Sequence[InstanceState]


class Desk:
    """What all strategies share: dice, the gateway's knowledge, and how long steps take."""

    def __init__(self, rng: np.random.Generator, gateway: Gateway, pace: Pace) -> None:
        self.rng = rng
        self.gateway = gateway
        self.pace = pace

    def least(self, instances: Instances, of: Callable[[InstanceState], float]) -> InstanceState:
        """Return the instance of which a number is least, one of equals at random."""
        values = [of(instance) for instance in instances]
        fewest = min(values)
        equal = [i for i, value in zip(instances, values, strict=True) if value == fewest]
        return equal[0] if len(equal) == 1 else equal[int(self.rng.integers(len(equal)))]

    def least_requests(self, instances: Instances) -> InstanceState:
        """Return the instance with the fewest requests."""
        return self.least(instances, num_requests)


class Strategy(Protocol):
    """One way to route."""

    def pick(self, state: RequestState, instances: Instances, view: ServingView) -> Id:
        """Return which of some instances gets a request; an empty name holds it back."""

    def hear(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Follow one event; one that holds requests back lets them go here."""


class ByLoad:
    """The least loaded gets the request, by one number or another."""

    def __init__(self, desk: Desk, strategy: str) -> None:
        self._desk = desk
        choices: dict[str, Callable[[Instances], InstanceState]] = {
            "random": self._random,
            "power-of-two": self._two,
            "least-request": desk.least_requests,
            "least-kv-cache": self._least_memory,
            "throughput": self._least_tokens,
            "least-latency": self._quickest,
        }
        self._choose = choices[strategy]
        self._now_s = 0.0

    def pick(self, state: RequestState, instances: Instances, view: ServingView) -> Id:
        """Return the least loaded."""
        self._now_s = view.now_s
        return self._choose(instances).id

    def hear(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Nothing but the gateway needs to know."""
        return ()

    def _random(self, instances: Instances) -> InstanceState:
        return instances[int(self._desk.rng.integers(len(instances)))]

    def _two(self, instances: Instances) -> InstanceState:
        chosen = self._desk.rng.choice(len(instances), size=min(2, len(instances)), replace=False)
        return self._desk.least_requests([instances[int(index)] for index in chosen])

    def _least_memory(self, instances: Instances) -> InstanceState:
        return self._desk.least(instances, _used_frac)

    def _least_tokens(self, instances: Instances) -> InstanceState:
        return self._desk.least(instances, self._mean_tokens)

    def _quickest(self, instances: Instances) -> InstanceState:
        return self._desk.least(instances, self._mean_e2e_s)

    def _mean_tokens(self, instance: InstanceState) -> float:
        ended = self._ended(instance)
        return 2 * mean(one.prompt_tokens for one in ended) + mean(one.output_tokens for one in ended)

    def _mean_e2e_s(self, instance: InstanceState) -> float:
        return mean(one.e2e_s for one in self._ended(instance))

    def _ended(self, instance: InstanceState) -> list[Ended]:
        return list(self._desk.gateway.ended(instance.id, self._now_s))


class Vtc:
    """Heavy users go to instances of their own, as far as the load allows.

    Of each instance it weighs how far its place in the row is from the place of the user's share of tokens, as a share
    of the row, and how much of the most loaded one's load it has.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def pick(self, state: RequestState, instances: Instances, view: ServingView) -> Id:
        """Return the instance that fits the user's share of tokens and is little loaded."""
        gateway, now_s = self._desk.gateway, view.now_s
        most_tokens = gateway.most_tokens(now_s) or 1.0
        last = len(instances) - 1
        place = gateway.tokens_of(state.request.tenant, now_s) / most_tokens * last
        most_requests = max(map(num_requests, instances)) or 1
        costs = [abs(n - place) / max(1, last) + i.num_requests / most_requests for n, i in enumerate(instances)]
        return instances[int(np.argmin(costs))].id

    def hear(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Nothing but the gateway needs to know."""
        return ()


def num_requests(instance: InstanceState) -> int:
    """Return how many requests an instance has."""
    return instance.num_requests


def _used_frac(instance: InstanceState) -> float:
    return instance.kv.used_frac
