"""A batch seat that wants to see every step."""

from __future__ import annotations

import numpy as np

from headway.core.nouns import Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import Step
from headway.policies.serving.seats import Batch
from headway.policies.serving.state import InstanceState


class Watchful:
    """Decides as another seat does, but never lets a step be repeated.

    Parameters
    ----------
    seat : Batch
        The other seat.

    Attributes
    ----------
    num_steps : int
        Steps formed since the last reset.
    """

    def __init__(self, *, seat: Batch) -> None:
        self.seat = seat
        self.num_steps = 0

    def reset(self, rng: np.random.Generator) -> None:
        """Begin to count anew."""
        self.num_steps = 0
        self.seat.reset(rng)

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return the next step, for one run."""
        step = self.seat.form(instance, draft, now_s)
        if step is None:
            return None
        self.num_steps += 1
        return step if step.repeat == 1 else Step(instance=step.instance, pieces=step.pieces)
