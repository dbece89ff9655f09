"""Fine-tuning while there is nothing to serve, and at no other time."""

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
from headway.policies.tuning.observed import Observed


class WhenIdle:
    """Trains at an instance only while nobody waits or runs there.

    Whoever arrives meanwhile waits for the units under way, which are cut to a length.

    Parameters
    ----------
    serve : str or table
        Who serves; ``"serving/sarathi"``.
    idle_unit_s : float
        How long units may take at once, in seconds, > 0; 0.05.

    Source
    ------
    This project's reading of temporal sharing, one of the baselines that the specification of Harli (arXiv 2511.11729)
    lists.
    """

    def __init__(self, *, serve: str | dict[str, Any] = "serving/sarathi", idle_unit_s: Seconds = 0.05) -> None:
        if not idle_unit_s > 0:
            raise ConfigError(f"tuning/when-idle: idle_unit_s must be > 0, got {idle_unit_s:g}. Try 0.05.")
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
        """Return a step as it is."""
        return step

    def fill(self, instance: InstanceState, job: JobState, view: ServingView) -> Step | None:
        """Return units alone, as many layers as an arrival can wait for."""
        num_layers = self._observed.num_layers(instance, job, 1.0, self.idle_unit_s)
        step = Step(instance=instance.id, pieces=(), tune=next_layers(job, num_layers))
        return self._observed.note(instance, step, job)
