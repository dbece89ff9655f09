"""Fine-tuning beside serving with nobody in charge: both run whenever they can, and get in each other's way."""

from __future__ import annotations

from typing import Any

import numpy as np

from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Seconds
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import Step
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState
from headway.policies.tuning.harli import next_layers
from headway.policies.tuning.observed import Observed, carrying, rest_of

HALF = 0.5


class Unmanaged:
    """Lets both sides of an instance compete for the compute, without a partition and without a limit.

    Two that always have work get half of it each; who is alone has all of it. A step carries about as many layers as
    lie beside its pieces. Where an executor cannot compute side by side, units follow the pieces for as long as these
    took. The memory of fine-tuning is not taken back while anything runs.

    Parameters
    ----------
    serve : str or table
        Who serves; ``"serving/sarathi"``.
    idle_unit_s : float
        How long units may take at once while there is nothing to serve, in seconds, > 0; 0.05.

    Source
    ------
    This project's reading of unmanaged co-location, one of the baselines that the specification of Harli (arXiv
    2511.11729) lists.
    """

    gives_back = False
    low_free_frac = high_free_frac = 0.0

    def __init__(self, *, serve: str | dict[str, Any] = "serving/sarathi", idle_unit_s: Seconds = 0.05) -> None:
        if not idle_unit_s > 0:
            raise ConfigError(f"tuning/unmanaged: idle_unit_s must be > 0, got {idle_unit_s:g}. Try 0.05.")
        self.serve = serve
        self.idle_unit_s = idle_unit_s
        self._observed = Observed()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget what was seen."""
        self._observed = Observed()

    def hear(self, event: Event, view: ServingView) -> None:
        """Learn from a step that is over."""
        self._observed.hear(event)

    def carry(self, step: Step, instance: InstanceState, job: JobState, view: ServingView) -> Step:
        """Return a step with half of the compute, and the units that lie beside its pieces."""
        if step.speculate:
            return step
        share = HALF if "share" in view.can else 1.0
        until_s = self._observed.pieces_s(instance, step, share)
        num_layers = self._observed.num_layers(instance, job, rest_of(share), until_s)
        return self._observed.note(instance, carrying(step, job, num_layers, share), job)

    def fill(self, instance: InstanceState, job: JobState, view: ServingView) -> Step | None:
        """Return units alone, with all of the compute."""
        num_layers = self._observed.num_layers(instance, job, 1.0, self.idle_unit_s)
        step = Step(instance=instance.id, pieces=(), tune=next_layers(job, num_layers))
        return self._observed.note(instance, step, job)
