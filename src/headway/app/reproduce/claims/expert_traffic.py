"""How many bytes of experts' weights a policy's steps read, counted layer by layer."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headway.core.actions import Action
from headway.core.events import Event
from headway.core.nouns import Id
from headway.policies.serving.nouns import Step, StepDone
from headway.policies.serving.seats import Batch, ServingView
from headway.policies.serving.stack import Stack
from headway.sim.serving.cost.configs import model_facts
from headway.sim.serving.cost.experts import Coverage
from headway.sim.serving.cost.hardware import FLOAT_BYTES


class ExpertTraffic:
    """A policy of one batch seat that counts the bytes of experts that its steps read, all accelerators together.

    Parameters
    ----------
    model : str
        By name; weights have 16 bits.
    skew : float or None
        Of the routing; 0 when None.
    batch : Batch
        Who forms the steps.

    Attributes
    ----------
    read_bytes : float
        What was read since the last reset.
    """

    def __init__(self, model: str, skew: float | None, *, batch: Batch) -> None:
        self.name = type(batch).__name__
        self._stack = Stack(batch=batch)
        facts = model_facts(model)
        self.read_bytes = 0.0
        self._num_layers = facts.num_layers
        self._moe_frac = facts.num_moe_layers / facts.num_layers
        self._expert_bytes = facts.expert_parameters * FLOAT_BYTES["bf16"]
        self._coverage = Coverage(facts.num_experts, facts.experts_per_token, skew or 0.0)
        self._reads: dict[Id, float] = {}  # what one run of the step under way reads, by instance

    def reset(self, rng: np.random.Generator) -> None:
        """Begin to count anew."""
        self._stack.reset(rng)
        self.read_bytes = 0.0
        self._reads = {}

    def decide(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Decide as ever, and note what was read."""
        if isinstance(event, StepDone):
            self.read_bytes += event.num_runs * self._reads.pop(event.instance, 0.0)
        actions = list(self._stack.decide(event, view))
        for action in actions:
            if isinstance(action, Step):
                self._reads[action.instance] = self._bytes_of(action)
        return actions

    def _bytes_of(self, step: Step) -> float:
        """Return what one run of a step reads: in each layer, the experts that the rows there visit."""
        rows = np.zeros(self._num_layers, np.int64)
        for piece in step.pieces:
            first, last = piece.layers or (0, self._num_layers)
            rows[first:last] += piece.tokens
        counts = zip(*np.unique(rows, return_counts=True), strict=True)
        visited = sum(int(layers) * self._coverage.distinct(int(num)) for num, layers in counts)
        return visited * self._moe_frac * self._expert_bytes
