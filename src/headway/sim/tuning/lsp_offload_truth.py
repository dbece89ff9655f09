"""What nobody sees of an offloaded fine-tuning: how long operations really take, and what biases come to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from headway.core.nouns import Id, Resource, Seconds
from headway.policies.tuning.lsp_offload_nouns import LANE_OF, Begin, OffloadJob, Op
from headway.policies.tuning.lsp_offload_plan import op_s

KINDS = {what: place for place, what in enumerate(LANE_OF)}
RANDOM_FRAC = 5.0
"""Bias of projectors that have not learnt, as a share of the gradient: about that of live ones."""
LEARN_TAU = 25.0
"""Iterations in which learning takes away all but 1/e of what it can (assumed)."""
DRIFT_STEPS = 4000.0
"""Steps in which gradients turn away so far that a learnt bias has gone 1/e of the way back up to 1 (assumed)."""


class OffloadTruth:
    """Durations with spread, and a law of biases.

    Parameters
    ----------
    seed : int
        Of the dice; 0. The same operation takes the same time whenever it runs.
    spread : float
        Standard deviation of the logarithm of a duration over what was expected, >= 0; 0.05.
    floor_frac : float
        The bias that learning can come down to, in (0, 1); 0.3. It varies by a fifth from layer to layer.
    slower : mapping of str to float
        By job, what all its times are multiplied with; none by default.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        spread: float = 0.05,
        floor_frac: float = 0.3,
        slower: Mapping[Id, float] | None = None,
    ) -> None:
        self.seed = seed
        self.spread = spread
        self.floor_frac = floor_frac
        self.slower = dict(slower or {})
        self._learnt: dict[tuple[Id, int], tuple[int, float]] = {}
        self._dice = lru_cache(maxsize=8)(self._roll)

    def run(self, op: Op, job: OffloadJob, form: Begin, resources: Mapping[Id, Resource]) -> tuple[Seconds, float]:
        """Return how long an operation takes, and the bias that it finds; NaN where it looks for none."""
        expected_s = op_s(op.what, job.layers[op.layer], form, job.param_bytes, resources)
        bias_frac = math.nan
        if op.what == "check":
            bias_frac = self._bias_frac(op)
        elif op.what == "learn":
            num, bias_frac = self._learn(op, form)
            expected_s *= num / max(1, form.learn_steps)
        dice = self._dice(op.step, len(job.layers))
        return expected_s * self.slower.get(op.job, 1.0) * float(dice[op.layer, KINDS[op.what]]), bias_frac

    def _roll(self, step: int, num_layers: int) -> NDArray[np.float64]:
        rng = np.random.default_rng([self.seed, step])
        return np.exp(self.spread * rng.standard_normal((num_layers, len(KINDS))))

    def _floor_frac(self, layer: int) -> float:
        return self.floor_frac * (1 + 0.2 * math.sin(layer + self.seed))

    def _bias_frac(self, op: Op) -> float:
        learnt = self._learnt.get((op.job, op.layer))
        if learnt is None:
            return RANDOM_FRAC
        at, bias_frac = learnt
        return 1 - (1 - bias_frac) * math.exp(-(op.step - at) / DRIFT_STEPS)

    def _learn(self, op: Op, form: Begin) -> tuple[int, float]:
        """Learn from random projectors; returns the iterations it took and the bias then."""
        floor = self._floor_frac(op.layer)
        span = RANDOM_FRAC - floor
        num = form.learn_steps
        if form.alpha > floor:
            num = (
                min(num, math.ceil(LEARN_TAU * math.log(span / (form.alpha - floor))))
                if form.alpha < RANDOM_FRAC
                else 0
            )
        bias_frac = floor + span * math.exp(-num / LEARN_TAU)
        self._learnt[op.job, op.layer] = (op.step, bias_frac)
        return num, bias_frac
