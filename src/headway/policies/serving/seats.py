"""The seats of serving: small protocols that compose into a `Stack`.

A `Stack` is the only caller of a seat. Seats keep the manners of policies: keyword-only constructors that store their
arguments under their own names, no clock, no I/O, randomness only from the generator given to `reset`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from headway.core.nouns import Id, Resource, Seconds
from headway.policies.serving.copies import KvCopy
from headway.policies.serving.draft import InstanceDraft, ServingDraft
from headway.policies.serving.nouns import Step
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
    def unrouted(self) -> Mapping[Id, RequestState]:
        """Requests that wait to be routed, first come first."""

    @property
    def requests(self) -> Mapping[Id, RequestState]:
        """All requests that have not finished."""

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

    def refusal(self, state: RequestState, view: ServingView) -> str | None:
        """Return why `state` is turned away, or None to take it. Called when it arrives (again if that was refused)."""


class Route(Seat, Protocol):
    """Decides which instance serves a request."""

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the id of an instance. Called when it has been admitted."""


class Batch(Seat, Protocol):
    """Decides which tokens of which requests an instance computes next."""

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return the next step of an idle instance, or None to leave it idle.

        Starts and preemptions go into `draft`; the stack puts them before the step. Called whenever the instance is
        idle and something happened.
        """
