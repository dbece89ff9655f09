"""A fixed part of the compute for serving, the rest for fine-tuning, whatever either has to do."""

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


class StaticSplit:
    """Splits the compute of every instance in the same two parts all the time.

    A partition runs both sides without regard to each other; here a step carries about as many layers as lie beside its
    pieces. Where an executor cannot compute side by side, the split is one of time: units follow the pieces for as long
    as their part of the compute is worth. The memory of fine-tuning is its own, too: it is lent once and not taken back
    while anything runs.

    Parameters
    ----------
    serve : str or table
        Who serves; ``"serving/sarathi"``.
    share : float
        The part that serving has, in (0, 1); 0.7. It must do for the largest batch that there will be.
    idle_unit_s : float
        How long units may take at once while there is nothing to serve, in seconds, > 0; 0.05.

    Source
    ------
    This project's reading of a static split of the cores, one of the baselines that the specification of Harli (arXiv
    2511.11729) lists.
    """

    gives_back = False

    def __init__(
        self,
        *,
        serve: str | dict[str, Any] = "serving/sarathi",
        share: float = 0.7,
        idle_unit_s: Seconds = 0.05,
    ) -> None:
        if not 0 < share < 1 or not idle_unit_s > 0:
            raise ConfigError(
                f"tuning/static-split: share must be in (0, 1) and idle_unit_s > 0, got {share:g} and {idle_unit_s:g}. "
                "Try 0.7 and 0.05."
            )
        self.serve = serve
        self.share = share
        self.idle_unit_s = idle_unit_s
        self._observed = Observed()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget what was seen."""
        self._observed = Observed()

    def hear(self, event: Event, view: ServingView) -> None:
        """Learn from a step that is over."""
        self._observed.hear(event)

    def carry(self, step: Step, instance: InstanceState, job: JobState, view: ServingView) -> Step:
        """Return a step with its part of the compute, and the units that lie beside its pieces."""
        if step.speculate:
            return step
        share = self.share if "share" in view.can else 1.0
        until_s = self._observed.pieces_s(instance, step, share)
        if share == 1.0:
            until_s *= (1.0 - self.share) / self.share
        num_layers = self._observed.num_layers(instance, job, rest_of(share), until_s)
        return self._observed.note(instance, carrying(step, job, num_layers, share), job)

    def fill(self, instance: InstanceState, job: JobState, view: ServingView) -> Step | None:
        """Return units alone, with their part of the compute."""
        share = self.share if "share" in view.can else 1.0
        num_layers = self._observed.num_layers(instance, job, rest_of(share), self.idle_unit_s)
        step = Step(instance=instance.id, pieces=(), share=share, tune=next_layers(job, num_layers))
        return self._observed.note(instance, step, job)
