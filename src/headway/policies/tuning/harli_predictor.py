"""How long a step takes beside fine-tuning, and how long a unit takes: learnt from those that were run.

Two stages, as Harli has them; their form is a reconstruction. The first predicts a step that runs alone. The second
predicts by which factor it takes longer with a share of the compute beside a unit, or after one. That factor is linear
in how much both wait for memory, for each share by itself; a share that was never tried is taken to slow a step down in
proportion, or as the nearest larger one did. What observations deviate from it makes predictions more careful.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headway.core.nouns import Id, Seconds
from headway.numerics.relative import RelativeFit
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import Phase, Step, StepDone, TuneJob, TuneUnit
from headway.policies.serving.pace import Pace, Shape, shape_of
from headway.policies.serving.state import InstanceState

FEW = 8
"""A share that was seen less often than this is predicted by proportion as well, whichever is longer."""
KNEE_TOKENS = 256.0
"""A microbatch of so many tokens waits for memory half the time: an assumption, the scale of a feature."""
MOST_LAYERS = 1024
"""No step carries more."""
ONE = np.array([1.0, 0.0, 0.0, 0.0])
"""Features of a factor that depends on nothing."""
EWMA = 0.05
"""The weight of the latest observation in the mean and the spread of errors."""
FADE = 0.02
"""How much of what was wrong is forgotten with each step that carries nothing."""
SIGMAS = 1.645
"""So many standard deviations above the mean lies the 95th percentile of what is normal."""


class Slowdown:
    """By which factor something takes longer at each share of the compute: the second stage.

    The factor is ``c0 + c1 m + c2 u + c3 m u`` with `m` and `u` how much the step and the unit wait for memory.
    """

    def __init__(self) -> None:
        self._fits: dict[float, RelativeFit] = {}

    def num_seen(self, share: float) -> int:
        """Return how often a share was seen."""
        fit = self._fits.get(share)
        return fit.num_seen if fit is not None else 0

    def factor(self, share: float, features: NDArray[np.float64]) -> float:
        """Return the factor at a share in (0, 1], never below 1."""
        fit = self._fits.get(share)
        seen = fit.num_seen if fit is not None else 0
        own = max(1.0, fit.predict(features)) if fit is not None else math.inf
        if seen >= FEW:
            return own
        larger = [(s, f) for s, f in self._fits.items() if s > share and f.num_seen >= FEW]
        by_law = 1.0 / share
        if larger:
            nearest, found = min(larger, key=lambda pair: pair[0])
            by_law = max(1.0, found.predict(features)) * nearest / share
        return by_law if not seen else max(own, by_law)

    def learn(self, share: float, features: NDArray[np.float64], factor: float) -> None:
        """Take in one observation."""
        fit = self._fits.get(share)
        if fit is None:
            prior = (1.0 / share, 0.05, 0.05, 0.05)
            fit = self._fits[share] = RelativeFit(prior, (1.0, 1.0, 1.0, 1.0), prior_weight=1.0, forget=0.99)
        fit.learn(features, max(factor, 1e-3))


class UnitTimes:
    """How long fine-tuning takes with all of the compute, layer by layer.

    Linear in layers, in tokens x layers and their squares, forward and backward apart, in tokens at the head, and in
    updates.

    Attributes
    ----------
    quickest_s : dict of str to float
        The shortest time that a layer ever took, by phase, in seconds.
    """

    PRIOR_S = (1e-5, 1e-6, 1e-10, 1e-6, 2e-5, 2e-6, 2e-10, 1e-3)
    UNITS = (1.0, 1e3, 1e6, 1e3, 1.0, 1e3, 1e6, 1.0)

    def __init__(self) -> None:
        self.quickest_s: dict[str, Seconds] = {}
        self._fit = RelativeFit(self.PRIOR_S, self.UNITS)
        self._known: dict[tuple[str, int, bool], Seconds] = {}

    @property
    def num_seen(self) -> int:
        """Of how many steps that carried units it knows."""
        return self._fit.num_seen

    def ahead_s(self, job: JobState, until_s: Seconds) -> NDArray[np.float64]:
        """Return the expected times of the next 1, 2, 3 ... layers together, in seconds, as far as `until_s`."""
        num_layers, times, total_s = job.job.num_layers, list[Seconds](), 0.0
        for unit in job.coming(num_layers):
            tokens = job.job.microbatches[unit.microbatch].tokens
            num = 1 if unit.phase == "update" else unit.layers[1] - unit.layers[0]
            times += [self._layer_s(unit.phase, tokens)] * num
            if unit.phase == "forward":
                times[-1] = self._layer_s(unit.phase, tokens, has_head=True)
            total_s += sum(times[-num:])
            if total_s > until_s or len(times) >= MOST_LAYERS:
                break
        ends_s = np.cumsum(times)
        return ends_s[: int(np.searchsorted(ends_s, until_s, side="right"))]

    def learn(self, units: Sequence[TuneUnit], job: TuneJob, took_s: Seconds) -> None:
        """Take in how long some units took together."""
        tokens = [job.microbatches[unit.microbatch].tokens for unit in units]
        features = [_features(*one, job.num_layers) for one in zip(units, tokens, strict=True)]
        self._fit.learn(np.sum(features, axis=0), took_s)
        self._known.clear()
        if len(units) == 1:
            layer_s = took_s / (units[0].layers[1] - units[0].layers[0])
            self.quickest_s[units[0].phase] = min(layer_s, self.quickest_s.get(units[0].phase, math.inf))

    def predict_s(self, units: Sequence[TuneUnit], job: TuneJob) -> Seconds:
        """Return the expected time of some units together, in seconds."""
        tokens = [job.microbatches[unit.microbatch].tokens for unit in units]
        features = [_features(*one, job.num_layers) for one in zip(units, tokens, strict=True)]
        return self._fit.predict(np.sum(features, axis=0))

    def _layer_s(self, phase: Phase, tokens: int, has_head: bool = False) -> Seconds:
        key = (phase, tokens, has_head)
        found = self._known.get(key)
        if found is None:
            unit = TuneUnit("", 0, (0, 1), phase)
            found = self._known[key] = self._fit.predict(_features(unit, tokens, 1 if has_head else 2))
        return found


class Caution:
    """How far predictions were off: the 95th percentile of observed over predicted, and the mean error."""

    def __init__(self) -> None:
        self.num_seen = 0
        self.mape = 0.0
        self._mean, self._var = 1.0, 0.0

    @property
    def factor(self) -> float:
        """What predictions are multiplied by, >= 1."""
        return max(1.0, self._mean + SIGMAS * math.sqrt(self._var))

    def learn(self, predicted_s: Seconds, took_s: Seconds) -> None:
        """Take in one prediction and what came of it. One slow step in a while must not frighten for long."""
        ratio = min(took_s / predicted_s, 3.0)
        self.num_seen += 1
        self.mape += (abs(predicted_s - took_s) / took_s - self.mape) / self.num_seen
        off = ratio - self._mean
        self._mean += EWMA * off
        self._var = (1 - EWMA) * (self._var + EWMA * off * off)

    def fade(self) -> None:
        """Forget a little: who is too careful to try anything would never learn better."""
        self._mean += FADE * (1.0 - self._mean)
        self._var *= 1.0 - FADE


class CoRunPredictor:
    """The two stages of one instance, with what they were wrong by.

    Attributes
    ----------
    solo_error, error, unit_error : Caution
        Of the first stage, of both together, and of units.
    """

    def __init__(self) -> None:
        self.solo_error, self.error, self.unit_error = Caution(), Caution(), Caution()
        self._pace = Pace()
        self._slow, self._unit_slow, self._units = Slowdown(), Slowdown(), UnitTimes()
        self._num_full: Counter[str] = Counter()
        self._noted: dict[Id, tuple[Step, Shape, JobState, Seconds]] = {}

    def num_alone(self, instance: InstanceState) -> int:
        """Return of how many steps without a unit it knows."""
        return self._pace.num_steps(instance)

    @property
    def knows_units(self) -> bool:
        """Whether it has ever seen one."""
        return self._units.num_seen > 0

    def solo_s(self, instance: InstanceState, shape: Shape) -> Seconds:
        """Return how long a step takes alone with all of the compute, in seconds."""
        return self._pace.step_s(instance, shape)

    def step_s(self, instance: InstanceState, shape: Shape, job: JobState, share: float) -> Seconds:
        """Return how long the pieces of a step take at a share beside a unit of a job (1: before one), in seconds."""
        return self.steps_s(instance, shape, job, [share])[0]

    def steps_s(self, instance: InstanceState, shape: Shape, job: JobState, shares: Sequence[float]) -> list[Seconds]:
        """Return the same for several shares."""
        solo_s = self.solo_s(instance, shape)
        features = self._features(instance, shape, job.tokens, solo_s)
        return [solo_s * self._slow.factor(share, features) for share in shares]

    def has_tried(self, share: float) -> bool:
        """Whether a share of the pieces was seen often enough to be known."""
        return self._slow.num_seen(share) >= FEW

    def ahead_s(self, job: JobState, until_s: Seconds) -> NDArray[np.float64]:
        """Return how long the next 1, 2, 3 ... layers of a job take together with all of the compute, in seconds."""
        care = self.unit_error.factor
        return self._units.ahead_s(job, until_s / care) * care

    def quickest_s(self, job: JobState) -> Seconds:
        """Return the shortest time that a layer like the next one of a job ever took, in seconds."""
        return self._units.quickest_s.get(job.phase, math.inf)

    def unit_factor(self, share: float) -> float:
        """Return by which factor units take longer with a share of the compute beside a step."""
        return self._unit_slow.factor(share, ONE) if share < 1.0 else 1.0

    def note(self, instance: InstanceState, step: Step, job: JobState) -> None:
        """Note a step that is about to begin."""
        shape = shape_of(instance, step)
        self._pace.forget_steps(instance.id)  # there is one at a time: of any other the end was never told
        predicted_s = self.step_s(instance, shape, job, step.share) if step.pieces and step.tune else 0.0
        if not step.tune:
            self._pace.note(instance, step)
            predicted_s = self.solo_s(instance, shape)
        self._noted[instance.id] = (step, shape, job, predicted_s)

    def forget_step(self, instance: Id) -> None:
        """Note that the latest step of an instance was refused, or is lost."""
        self._noted.pop(instance, None)
        self._pace.forget_steps(instance)

    def hear(self, event: StepDone, instance: InstanceState) -> None:
        """Learn from a step that is over."""
        noted = self._noted.pop(event.instance, None)
        if noted is None:
            return
        step, shape, job, predicted_s = noted
        if not step.tune:
            if event.num_runs == 1 and self.num_alone(instance) >= FEW:
                self.solo_error.learn(predicted_s, event.step_s)
            self.error.fade()
            self.unit_error.fade()
            self._pace.hear(event)
            return
        if event.pieces_s is not None and step.pieces and event.pieces_s > 0:
            solo_s = self.solo_s(instance, shape)
            features = self._features(instance, shape, job.tokens, solo_s)
            self._slow.learn(step.share, features, event.pieces_s / solo_s)
            self.error.learn(predicted_s, event.pieces_s)
        if event.tune_s > 0:
            self._hear_units(step, job.job, event.tune_s)

    def _hear_units(self, step: Step, job: TuneJob, took_s: Seconds) -> None:
        if self.knows_units:
            factor = self.unit_factor(round(1.0 - step.share, 6)) if step.share < 1.0 else 1.0
            self.unit_error.learn(self._units.predict_s(step.tune, job) * factor, took_s)
        if step.share == 1.0:
            self._num_full.update(unit.phase for unit in step.tune)
            self._units.learn(step.tune, job, took_s)
        elif self.knows_units:
            rest = round(1.0 - step.share, 6)
            self._unit_slow.learn(rest, ONE, took_s / self._units.predict_s(step.tune, job))
            # A phase that was hardly seen with all of the compute is learnt from what it took with less. Others are
            # not: time and factor would drift against each other.
            if any(self._num_full[unit.phase] < FEW for unit in step.tune):
                self._units.learn(step.tune, job, took_s / self._unit_slow.factor(rest, ONE))

    def _features(self, instance: InstanceState, shape: Shape, tokens: int, solo_s: Seconds) -> NDArray[np.float64]:
        fixed_s, *_, context_s, _, _ = self._pace.marginal_s(instance)
        # How much either waits for memory: what of its time does not come from arithmetic.
        waits = min(1.0, (fixed_s + context_s * shape.context_tokens) / solo_s)
        unit_waits = KNEE_TOKENS / (KNEE_TOKENS + tokens)
        return np.array([1.0, waits, unit_waits, waits * unit_waits])


def _features(unit: TuneUnit, tokens: int, num_layers: int) -> NDArray[np.float64]:
    first, last = unit.layers
    if unit.phase == "update":
        return np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    layers = float(last - first)
    through = [layers, layers * tokens, layers * tokens * tokens]
    if unit.phase == "forward":
        return np.array([*through, float(tokens) if last == num_layers else 0.0, 0.0, 0.0, 0.0, 0.0])
    return np.array([0.0, 0.0, 0.0, 0.0, *through, 0.0])
