"""The share seat: who says when fine-tuning runs beside serving, and with how much of the compute."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from headway.core.events import Event
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import Step
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState


class Share(Protocol):
    """Decides how much of an instance fine-tuning gets; `Beside` is the only caller.

    Seats keep the manners of policies: keyword-only constructors that store their arguments under their own names, no
    clock, no I/O, randomness only from the generator given to `reset`.
    """

    def reset(self, rng: np.random.Generator) -> None:
        """Forget everything learnt so far; keep `rng` for all later randomness."""

    def hear(self, event: Event, view: ServingView) -> None:
        """Learn from what happened, before anything is decided; it is told of every event while there are jobs."""

    def carry(self, step: Step, instance: InstanceState, job: JobState, view: ServingView) -> Step:
        """Return a step that serving asks for, with the next unit of a job carried along, or as it is.

        Called when the memory that the job needs is lent.
        """

    def fill(self, instance: InstanceState, job: JobState, view: ServingView) -> Step | None:
        """Return a step of a unit alone for an instance that has nothing to serve, or None to leave it idle."""
