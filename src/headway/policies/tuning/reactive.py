"""Fine-tuning that looks back instead of ahead: more after a step in time, much less after one that was late."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import Step, StepDone
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState
from headway.policies.tuning.harli import next_layers
from headway.policies.tuning.observed import carrying

MOST_LAYERS = 512
IDLE_LAYERS = 8


class Reactive:
    """Harli without its predictor: units follow the pieces of a step, as many layers as went well last time.

    One layer more after a step that was over within the promised time per token; half as many after one that was not.

    Parameters
    ----------
    serve : str or table
        Who serves; ``"serving/sarathi"``.
    margin_frac : float
        Share of the promised time per token that is kept free, in [0, 1); 0.05.

    Source
    ------
    This project's ablation of Harli (arXiv 2511.11729): additive increase, multiplicative decrease.
    """

    def __init__(self, *, serve: str | dict[str, Any] = "serving/sarathi", margin_frac: float = 0.05) -> None:
        if not 0 <= margin_frac < 1:
            raise ConfigError(f"tuning/reactive: margin_frac must be in [0, 1), got {margin_frac:g}. Try 0.05.")
        self.serve = serve
        self.margin_frac = margin_frac
        self._layers: dict[Id, float] = {}
        self._bounds_s: dict[Id, Seconds] = {}

    def reset(self, rng: np.random.Generator) -> None:
        """Forget how it went."""
        self._layers, self._bounds_s = {}, {}

    def hear(self, event: Event, view: ServingView) -> None:
        """Take more or less the next time."""
        if not isinstance(event, StepDone):
            return
        bound_s = self._bounds_s.pop(event.instance, None)
        if bound_s is not None:
            layers = self._layers.get(event.instance, 1.0)
            in_time = event.step_s <= (1.0 - self.margin_frac) * bound_s
            self._layers[event.instance] = min(layers + 1.0, MOST_LAYERS) if in_time else max(0.5, layers / 2)

    def carry(self, step: Step, instance: InstanceState, job: JobState, view: ServingView) -> Step:
        """Return a step with as many layers as went well last time."""
        self._bounds_s[instance.id] = min((s.promise.tpot_s for s in instance.running.values()), default=math.inf)
        num_layers = int(self._layers.get(instance.id, 1.0))
        return step if step.speculate or num_layers < 1 else carrying(step, job, num_layers)

    def fill(self, instance: InstanceState, job: JobState, view: ServingView) -> Step | None:
        """Return a few layers alone."""
        return Step(instance=instance.id, pieces=(), tune=next_layers(job, IDLE_LAYERS))
