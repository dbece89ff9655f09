"""Run ranges of recognised decoder layers in single calls of the fused kernel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from headway.engines.llm.model.rotary import RotaryTable
from headway.engines.llm.model.step import Segment, StepBatch
from headway.engines.llm.model.stored import StoredStates
from headway.engines.llm.native.layer import DecoderLayer

if TYPE_CHECKING:
    from torch import Tensor

    from headway.engines.llm.model.attention import KvPools


@dataclass(slots=True)
class _Run:
    """Consecutive layers that turn by the same angles."""

    layers: list[DecoderLayer]
    keys: list[Tensor]
    values: list[Tensor]
    kind: str | None


class FusedLayers:
    """All decoder layers of a model, as the fused kernel takes them.

    Parameters
    ----------
    layers : list of DecoderLayer
        First to last.
    pools : KvPools
        Their KV memory.
    table : RotaryTable
        Angles by position.
    kinds : list of str or None
        Which of the table's angles each layer turns by.
    """

    def __init__(self, layers: list[DecoderLayer], pools: KvPools, table: RotaryTable, kinds: list[str | None]) -> None:
        self.layers = layers
        self._pools = pools
        self._table = table
        self._kinds = kinds
        self._runs: dict[tuple[int, int], list[_Run]] = {}

    def run(self, step: StepBatch, hidden: Tensor, stored: StoredStates) -> Tensor:
        """Take `hidden [tokens, width]` through all layers, each token through those of its range."""
        if not step.ragged_layers:
            return self.through(step.segments[0], step.positions, hidden)
        hidden = hidden.clone()
        borders = {segment.first: segment for segment in step.segments}
        for layer in sorted({*borders, *step.enters, *step.leaves}):
            stored.keep(step, layer, hidden)
            stored.put_back(step, layer, hidden)
            if layer in borders:
                self._through_some(borders[layer], step.positions, hidden)
        return hidden

    def through(self, segment: Segment, positions: Tensor, hidden: Tensor) -> Tensor:
        """Take `hidden [active, width]` at `positions [active]` through the layers of one segment."""
        for run in self._runs_of(segment.first, segment.last):
            table = self._table.table(hidden, run.kind)
            assert table is not None
            cos, sin = (side.index_select(0, positions) for side in table)
            hidden = self._pools.kernels.decoder_layers(
                hidden, run.layers, run.keys, run.values, cos, sin, segment.batch
            )
        return hidden

    def _through_some(self, segment: Segment, positions: Tensor, hidden: Tensor) -> None:
        if segment.tokens is None:
            hidden.copy_(self.through(segment, positions, hidden))
            return
        tokens = segment.tokens
        out = self.through(segment, positions.index_select(0, tokens), hidden.index_select(0, tokens))
        hidden.index_copy_(0, tokens, out)

    def _runs_of(self, first: int, last: int) -> list[_Run]:
        found = self._runs.get((first, last))
        if found is None:
            groups = [list(group) for _, group in groupby(range(first, last), key=self._kinds.__getitem__)]
            found = self._runs[first, last] = [self._cut(group[0], group[-1] + 1) for group in groups]
        return found

    def _cut(self, first: int, last: int) -> _Run:
        pools = self._pools
        return _Run(self.layers[first:last], pools.keys[first:last], pools.values[first:last], self._kinds[first])
