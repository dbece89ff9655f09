"""Where pieces of layer ranges wait: the hidden states they stopped with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.engines.llm.model.step import StepBatch

if TYPE_CHECKING:
    from torch import Tensor


class StoredStates:
    """Hidden states of pieces that stopped between two layers, by slot."""

    def __init__(self) -> None:
        self._states: dict[int, Tensor] = {}

    def drop(self, slot: int) -> None:
        """Forget what a slot left."""
        self._states.pop(slot, None)

    def put_back(self, step: StepBatch, layer: int, hidden: Tensor) -> None:
        """Give the pieces that go on from `layer` the states they stopped with; writes to `hidden [tokens, width]`."""
        for visit in step.enters.get(layer, ()):
            hidden[visit.begin : visit.end] = self._states.pop(visit.slot)

    def keep(self, step: StepBatch, layer: int, hidden: Tensor) -> None:
        """Store the states of the pieces that stop before `layer`."""
        for visit in step.leaves.get(layer, ()):
            self._states[visit.slot] = hidden[visit.begin : visit.end].clone()
