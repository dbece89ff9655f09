"""Harli: fine-tuning in what decoding leaves of the compute, within the promised time per token."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec.structs import replace

from headway.core.errors import ConfigError
from headway.core.events import Changed, Event, Refused
from headway.core.nouns import Id, Seconds
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import RequestArrived, Step, StepDone, TuneUnit
from headway.policies.serving.pace import shape_of
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState
from headway.policies.tuning.harli_predictor import CoRunPredictor
from headway.policies.tuning.slack import Slack

ALONE_FIRST = 16
"""So many steps run without a unit before the first that carries one, so that the first stage knows something."""
LONG_ALONE = 128
"""After so many steps without a unit the first is tried wherever a promise leaves any room."""
ALONE_EVERY = 64
"""Of so many steps one runs without a unit, which keeps the first stage true."""

MOST_SHARES = 16
"""So many are looked at, however finely the compute can be split."""

PROBE_EVERY = 64
"""After so many steps without a unit one is tried, if it could fit when it is as quick as it ever was."""


class Harli:
    """Carries units beside decodes, with the smallest share of the compute for these that keeps their promises.

    At the boundary of each step it predicts, for every share of the compute that the pieces of the step could get, how
    long they would take beside the next unit of fine-tuning, and how far that unit would come. Of what keeps the
    promises it takes what trains most per second; with nothing that does, the step runs alone. A share of 1 stands for
    one after the other: the pieces with all of the compute, then the unit. Units are cut to as many layers as fit.

    Parameters
    ----------
    serve : str or table
        Who serves; ``"serving/sarathi"``.
    margin_frac : float
        Share of the promised time per token that is kept free, in [0, 1); 0.05.
    idle_unit_s : float
        How long a unit may take while there is nothing to serve, in seconds, > 0; 0.05. Who arrives waits for it.
    room_frac : float
        No unit is carried while more of the requests that can run at once are running, in (0, 1]; 0.8. Longer steps
        make more requests run at once.
    low_free_frac, high_free_frac : float
        Below which share of free KV blocks lent memory is taken back, and how much is free after lending, in [0, 1);
        0.05 and 0.10.

    Attributes
    ----------
    predictors : dict of str to CoRunPredictor
        What was learnt, by instance.

    Source
    ------
    "Harli: SLO-aware co-location of LLM decode and PEFT finetuning", 2025, arXiv 2511.11729. Known to us are the
    abstract and the first part of the introduction: one allocator for KV cache and fine-tuning, a two-stage latency
    predictor, a scheduler that maximises fine-tuning under the promised TPOT.

    Faithful to the paper
    ---------------------
    At the level of these three blocks. All internals are a reconstruction: units of whole layers, the form of both
    stages, the order of the search, watermarks, and what a step may take where prompts are prefilled on the same
    instance (in the paper they are not, and TTFT is no concern).

    Cost
    ----
    O(shares) predictions per step, and one look at every running request.

    Examples
    --------
    >>> Harli(margin_frac=0.1).margin_frac
    0.1
    """

    def __init__(
        self,
        *,
        serve: str | dict[str, Any] = "serving/sarathi",
        margin_frac: float = 0.05,
        idle_unit_s: Seconds = 0.05,
        room_frac: float = 0.8,
        low_free_frac: float = 0.05,
        high_free_frac: float = 0.10,
    ) -> None:
        if not 0 <= margin_frac < 1 or not idle_unit_s > 0 or not 0 < room_frac <= 1:
            raise ConfigError(
                "tuning/harli: margin_frac must be in [0, 1), idle_unit_s > 0 and room_frac in (0, 1], got "
                f"{margin_frac:g}, {idle_unit_s:g} and {room_frac:g}. Try the defaults."
            )
        if not 0 <= low_free_frac <= high_free_frac < 1:
            raise ConfigError(
                "tuning/harli: low_free_frac must be >= 0 and at most high_free_frac, that below 1, got "
                f"{low_free_frac:g} and {high_free_frac:g}. Try 0.05 and 0.10."
            )
        self.serve = serve
        self.margin_frac = margin_frac
        self.idle_unit_s = idle_unit_s
        self.room_frac = room_frac
        self.low_free_frac = low_free_frac
        self.high_free_frac = high_free_frac
        self.predictors: dict[Id, CoRunPredictor] = {}
        self._slack = Slack(margin_frac)
        self._since_alone: dict[Id, int] = {}
        self._since_carried: dict[Id, int] = {}

    def reset(self, rng: np.random.Generator) -> None:
        """Forget what was learnt."""
        self.predictors = {}
        self._slack = Slack(self.margin_frac)
        self._since_alone = {}
        self._since_carried = {}

    @property
    def error_frac(self) -> float | None:
        """By which share of the time predictions of steps beside units were off, on average; None before the first."""
        seen = [found.error for found in self.predictors.values() if found.error.num_seen]
        num = sum(error.num_seen for error in seen)
        return sum(error.mape * error.num_seen for error in seen) / num if num else None

    def hear(self, event: Event, view: ServingView) -> None:
        """Learn from a step that is over, and from what those who arrive were promised."""
        if isinstance(event, StepDone) and event.instance in view.instances:
            self._predictor(event.instance).hear(event, view.instances[event.instance])
        elif isinstance(event, RequestArrived):
            state = view.requests.get(event.work.id)
            if state is not None:
                self._slack.hear(state.promise)
        elif isinstance(event, Refused) and event.action == "Step":
            self._predictor(event.id).forget_step(event.id)
        elif isinstance(event, Changed) and not event.up:
            self._predictor(event.resource.id).forget_step(event.resource.id)

    def carry(self, step: Step, instance: InstanceState, job: JobState, view: ServingView) -> Step:
        """Return a step with the units that train most within the promises, or as it is."""
        predictor = self._predictor(instance.id)
        found = step
        if not step.speculate and self._may_carry(instance, predictor):
            solo_s = predictor.solo_s(instance, shape_of(instance, step))
            allowed_s = self._slack.allowed_s(instance, step, solo_s, view.now_s)
            found = self._best(step, instance, job, view, allowed_s)
        self._since_carried[instance.id] = 0 if found.tune else self._since_carried.get(instance.id, 0) + 1
        self._since_alone[instance.id] = 0 if not found.tune else self._since_alone.get(instance.id, 0) + 1
        predictor.note(instance, found, job)
        return found

    def fill(self, instance: InstanceState, job: JobState, view: ServingView) -> Step | None:
        """Return a step of units alone, of as many layers as an arrival can wait for."""
        predictor = self._predictor(instance.id)
        ahead_s = predictor.ahead_s(job, min(self.idle_unit_s, self._slack.patience_s))
        num_layers = len(ahead_s) if predictor.knows_units else 1
        step = Step(instance=instance.id, pieces=(), tune=next_layers(job, max(1, num_layers)))
        predictor.note(instance, step, job)
        return step

    def _may_carry(self, instance: InstanceState, predictor: CoRunPredictor) -> bool:
        if predictor.num_alone(instance) < ALONE_FIRST or self._since_alone.get(instance.id, 0) >= ALONE_EVERY:
            return False
        return instance.num_running <= self.room_frac * instance.max_running

    def _best(self, step: Step, instance: InstanceState, job: JobState, view: ServingView, allowed_s: Seconds) -> Step:
        """Return the step with the units and the share that train most per second within `allowed_s`, if any do."""
        predictor, shape = self._predictor(instance.id), shape_of(instance, step)
        care = predictor.error.factor
        if not predictor.knows_units:  # the first tells how long others will take
            # Where promises are so tight that it never looks safe, one step is risked to know at all.
            tries = 1.0 if predictor.num_alone(instance) >= LONG_ALONE else 2.0
            is_safe = predictor.solo_s(instance, shape) * tries <= allowed_s
            return replace(step, tune=next_layers(job, 1), repeat=1) if is_safe else step
        ahead_s = predictor.ahead_s(job, allowed_s)
        options: list[tuple[bool, float, float, int]] = []
        shares = list(_shares(instance, view))
        for share, alone_s in zip(shares, predictor.steps_s(instance, shape, job, shares), strict=True):
            pieces_s = alone_s * care
            units_s = ahead_s * predictor.unit_factor(round(1.0 - share, 6) if share < 1.0 else 1.0)
            num = int(np.searchsorted(units_s, allowed_s - (pieces_s if share == 1.0 else 0.0), side="right"))
            if share < 1.0:  # more than lies beside the pieces only makes them wait
                num = min(num, int(np.searchsorted(units_s, pieces_s)) + 1)
            if num == 0 or pieces_s > allowed_s:
                continue
            total_s = pieces_s + units_s[num - 1] if share == 1.0 else max(pieces_s, units_s[num - 1])
            # What was never tried, and is safe by the most careful reckoning, is tried first.
            options.append((not predictor.has_tried(share), float(ahead_s[num - 1] / total_s), share, num))
        if not options:
            return self._probe(step, instance, job, allowed_s)
        _, _, share, num = max(options)
        return replace(step, tune=next_layers(job, num), share=share, repeat=1)

    def _probe(self, step: Step, instance: InstanceState, job: JobState, allowed_s: Seconds) -> Step:
        """Try a single layer where none was carried for long and it could fit: times may be better than feared."""
        predictor = self._predictor(instance.id)
        quickest_s = predictor.solo_s(instance, shape_of(instance, step)) + predictor.quickest_s(job)
        if self._since_carried.get(instance.id, 0) < PROBE_EVERY or quickest_s > allowed_s:
            return step
        return replace(step, tune=next_layers(job, 1), repeat=1)

    def _predictor(self, instance: Id) -> CoRunPredictor:
        found = self.predictors.get(instance)
        if found is None:
            found = self.predictors[instance] = CoRunPredictor()
        return found


def next_layers(job: JobState, num_layers: int) -> tuple[TuneUnit, ...]:
    """Return the units that pass through the next so many layers of a job; an update counts as one."""
    found: list[TuneUnit] = []
    ahead = job.coming()
    for unit in itertools.islice(ahead, num_layers):
        last = found[-1] if found else None
        if last is not None and (last.microbatch, last.phase) == (unit.microbatch, unit.phase):
            layers = (min(last.layers[0], unit.layers[0]), max(last.layers[1], unit.layers[1]))
            found[-1] = replace(last, layers=layers)
        else:
            found.append(unit)
    return tuple(found)


def _shares(instance: InstanceState, view: ServingView) -> Iterator[float]:
    """Yield the shares that the pieces could get, smallest first."""
    if "share" in view.can:
        for part in range(1, instance.num_shares, -(-instance.num_shares // MOST_SHARES)):
            yield round(part / instance.num_shares, 6)
    yield 1.0
