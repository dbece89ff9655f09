"""What was seen of steps at a share of the compute, and of units: enough to cut units to a length, and no more."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from headway.core.events import Event, Refused
from headway.core.nouns import Id, Seconds
from headway.numerics.relative import RelativeFit
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import Step, StepDone
from headway.policies.serving.pace import FORGET, PRIOR_S, PRIOR_STEPS, UNITS, Shape, shape_of
from headway.policies.serving.state import InstanceState
from headway.policies.tuning.harli import next_layers
from headway.policies.tuning.harli_predictor import UnitTimes

Way = tuple[Id, float]
"""An instance, and a share of its compute."""


class Observed:
    """Times of pieces and of units, by instance and by share, as they were when both ran as they do."""

    def __init__(self) -> None:
        self._pieces: dict[Way, RelativeFit] = {}
        self._units: dict[Way, UnitTimes] = {}
        self._noted: dict[Id, tuple[Step, Shape, JobState]] = {}

    def note(self, instance: InstanceState, step: Step, job: JobState) -> Step:
        """Note a step that is about to begin, and return it."""
        self._noted[instance.id] = (step, shape_of(instance, step), job)
        return step

    def hear(self, event: Event) -> None:
        """Learn from a step that is over."""
        if isinstance(event, Refused) and event.action == "Step":
            self._noted.pop(event.id, None)
        if not isinstance(event, StepDone):
            return
        step, shape, job = self._noted.pop(event.instance, (None, None, None))
        if step is None or shape is None or job is None:
            return
        if step.pieces and event.pieces_s:
            self._pieces_at(event.instance, step.share).learn(shape.features(), event.pieces_s)
        if step.tune and event.tune_s > 0:
            self._units_at(event.instance, rest_of(step.share)).learn(step.tune, job.job, event.tune_s)

    def pieces_s(self, instance: InstanceState, step: Step, share: float) -> Seconds:
        """Return how long the pieces of a step take at a share, in seconds."""
        return self._pieces_at(instance.id, share).predict(shape_of(instance, step).features())

    def num_layers(self, instance: InstanceState, job: JobState, share: float, until_s: Seconds) -> int:
        """Return the next so many layers that a share of the compute gets through within a time, at least 1."""
        units = self._units_at(instance.id, share)
        if not units.num_seen:
            return 1  # the first tells how long others will take
        return max(1, int(np.searchsorted(units.ahead_s(job, until_s), until_s, side="right")))

    def _pieces_at(self, instance: Id, share: float) -> RelativeFit:
        found = self._pieces.get((instance, share))
        if found is None:
            found = RelativeFit(PRIOR_S, UNITS, prior_weight=PRIOR_STEPS, forget=FORGET)
            self._pieces[instance, share] = found
        return found

    def _units_at(self, instance: Id, share: float) -> UnitTimes:
        return self._units.setdefault((instance, share), UnitTimes())


def rest_of(share: float) -> float:
    """Return the share that units have in a step of this one; with all of the compute they have it, too, later."""
    return round(1.0 - share, 6) if share < 1.0 else 1.0


def carrying(step: Step, job: JobState, num_layers: int, share: float = 1.0, fused: bool = False) -> Step:
    """Return a step with the next so many layers of a job."""
    return replace(step, tune=next_layers(job, num_layers), share=share, fused=fused, repeat=1)
