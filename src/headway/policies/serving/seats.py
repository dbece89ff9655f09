"""The seats of serving: small protocols that compose into a `Stack`.

A `Stack` is the only caller of a seat. Seats keep the manners of policies: keyword-only constructors that store their
arguments under their own names, no clock, no I/O, randomness only from the generator given to `reset`. One object may
take several seats.

Whatever its seat, a mechanism may also have three more methods, which the stack calls where they exist: ``steer``
(see `Steer`), ``join`` (see `Joins`) and ``foretell`` (see `Foretells`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from headway.core.actions import Action, Reject
from headway.core.events import Event
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.serving.copies import KvCopy
from headway.policies.serving.draft import InstanceDraft, ServingDraft
from headway.policies.serving.jobs import JobState
from headway.policies.serving.lending import Lending
from headway.policies.serving.nouns import Step
from headway.policies.serving.pace import Pace
from headway.policies.serving.pools import PoolState
from headway.policies.serving.state import InstanceState, RequestState


class ServingView(Protocol):
    """What serving policies see; `ServingBoard` keeps it."""

    @property
    def now_s(self) -> Seconds:
        """The present, in seconds since the start of the run."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The instances as resources."""

    @property
    def instances(self) -> Mapping[Id, InstanceState]:
        """The replicas that serve, with their requests and memory."""

    @property
    def pools(self) -> Mapping[str, PoolState]:
        """How many instances of each pool serve, come up and leave."""

    @property
    def unrouted(self) -> Mapping[Id, RequestState]:
        """Requests that wait to be routed, first come first."""

    @property
    def requests(self) -> Mapping[Id, RequestState]:
        """All requests that have not finished."""

    @property
    def lending(self) -> Lending:
        """Which blocks of running requests other instances hold; to be read."""

    @property
    def jobs(self) -> Mapping[Id, JobState]:
        """Fine-tuning jobs that have not ended, first come first."""

    @property
    def copies(self) -> Mapping[Id, KvCopy]:
        """What of running requests is on other instances already, by request."""

    @property
    def can(self) -> frozenset[str]:
        """What the executor is able to do beyond plain steps."""

    def draft(self) -> ServingDraft:
        """Open a tentative overlay for one decision."""


class Seat(Protocol):
    """What all seats have in common."""

    def reset(self, rng: np.random.Generator) -> None:
        """Forget everything learnt so far; keep `rng` for all later randomness."""


class Admit(Seat, Protocol):
    """Decides whether a new request is taken at all."""

    def refusal(self, state: RequestState, view: ServingView) -> str | Reject | None:
        """Return why `state` is turned away, or None to take it. Called when it arrives (again if that was refused).

        The reason is a sentence where trying again would not help, else a `Reject` that says when it may.
        """


class Route(Seat, Protocol):
    """Decides which instance serves a request."""

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the id of an instance that does not drain. Called when it has been admitted.

        A seat that also steers may return an empty name: it holds the request back, and moves or rejects it later.
        """


class Batch(Seat, Protocol):
    """Decides which tokens of which requests an instance computes next."""

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return the next step of an idle instance, or None to leave it idle.

        Starts and preemptions go into `draft`; the stack puts them before the step. Called whenever the instance is
        idle and something happened.
        """


class Order(Seat, Protocol):
    """Decides in which order those who wait at an instance are started."""

    def queue(self, instance: InstanceState, now_s: Seconds) -> Iterable[RequestState]:
        """Return those who wait at an idle instance, who is to start first at the front; it may leave some out."""


class Evict(Seat, Protocol):
    """Decides what gives way when memory is short."""

    def victim(self, instance: InstanceState, running: Sequence[RequestState], now_s: Seconds) -> RequestState:
        """Return which of `running` (in the order in which they were started) gives its memory back."""

    def make_room(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> None:
        """Draft the end of pins, with `InstanceDraft.unpin`. Called before a step of an idle instance is formed."""


class Predict(Seat, Protocol):
    """Says how long outputs will be; an estimate is never more than that."""

    def output_tokens(self, state: RequestState, quantile: float | None = None) -> float:
        """Return how many output tokens a request will come to in all.

        Parameters
        ----------
        state : RequestState
            Of a request that has not ended.
        quantile : float or None
            Of what it may come to, in (0, 1); the mean without one.

        Returns
        -------
        float
            More than it has now.
        """


class Steer(Seat, Protocol):
    """Acts beside requests and steps: moves, places, scales, turns knobs. The seats migrate, place, scale and power."""

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Answer an event with actions that come before those of the other seats. It is asked about every event."""


class Neighbours(Protocol):
    """What a seat finds around it: a `Stack`, whose other seats have their names."""

    predict: Predict

    @property
    def pace(self) -> Pace:
        """How long steps take, as learnt in this run; it learns from the moment when a seat has asked for it."""


class Joins(Protocol):
    """A seat that wants to know its neighbours."""

    def join(self, stack: Neighbours) -> None:
        """Look around in the stack, for the predictor or the pace. Called before every `reset`."""


class Foretells(Protocol):
    """A seat that may know the future, in worlds that know it; clairvoyant predictors alone should."""

    @property
    def foretells(self) -> bool:
        """Whether it decides by the truth with the parameters that it has; a live engine cannot serve it then."""

    def foretell(self, ask: Callable[[Id], int]) -> None:
        """Keep a function that tells after how many output tokens a request ends by itself."""
