"""One step as the model sees it: the ragged batch, and which layers which of its tokens pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from headway.core.errors import EngineError
from headway.engines.llm.native.batch import RaggedBatch
from headway.engines.llm.rows import Columns
from headway.engines.llm.slots import Ints, SlotTable

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(slots=True)
class Group:
    """The tokens of a batch that use one LoRA adapter: int64 `[tokens]` indices into the rows of the batch."""

    adapter: int
    tokens: Tensor


@dataclass(slots=True)
class Segment:
    """A range of layers that the same tokens of a step pass.

    Parameters
    ----------
    first, last : int
        The layers ``[first, last)``.
    tokens : Tensor or None
        int64 `[active]`, which tokens of the step pass; None for all of them.
    batch : RaggedBatch
        Of the tokens that pass.
    groups : list of Group
        Which of the tokens that pass use which adapter; those of the base model are in none.
    """

    first: int
    last: int
    tokens: Tensor | None
    batch: RaggedBatch
    groups: list[Group]


@dataclass(slots=True)
class Visit:
    """A piece that enters or leaves the model between two layers: its slot, and its tokens ``[begin, end)``."""

    slot: int
    begin: int
    end: int


@dataclass(slots=True)
class StepBatch:
    """Everything about one step that model code needs.

    Parameters
    ----------
    input_ids, positions : Tensor
        int64 `[tokens]`.
    sampled : Tensor or None
        int64 `[sampled]`, the tokens whose logits are wanted; None when none are.
    segments : list of Segment
        In the order of the layers; one when every token passes every layer.
    ragged_layers : bool
        Whether some token does not pass some layer.
    uses_adapters : bool
        Whether some token uses an adapter.
    enters, leaves : dict of int to list of Visit
        Pieces that go on from a stored hidden state before the layer, or stop before it.
    sampled_groups : list of Group
        Which of the *sampled* tokens use which adapter.
    """

    input_ids: Tensor
    positions: Tensor
    sampled: Tensor | None
    segments: list[Segment]
    ragged_layers: bool = False
    uses_adapters: bool = False
    enters: dict[int, list[Visit]] = field(default_factory=dict)
    leaves: dict[int, list[Visit]] = field(default_factory=dict)
    sampled_groups: list[Group] = field(default_factory=list)
    segment: Segment | None = None
    groups: list[Group] = field(default_factory=list)

    def enter(self, segment: Segment) -> None:
        """From here on, attention and adapters work on the tokens of `segment`."""
        self.segment, self.groups = segment, segment.groups


_current: list[StepBatch] = []


def current() -> StepBatch:
    """Return the step under way; the model's own code stands between runner and attention and knows nothing of it."""
    if not _current:
        raise EngineError("engine: the model must be run by a Runner, but no step is under way. Use Runner.run.")
    return _current[-1]


@contextmanager
def under_way(step: StepBatch) -> Iterator[StepBatch]:
    """Make `step` the current one."""
    _current.append(step)
    try:
        yield step
    finally:
        _current.pop()


class _Layout:
    """The numpy side of building a step."""

    def __init__(self, table: SlotTable, rows: Columns) -> None:
        self.table = table
        self.slots = np.asarray(rows.slots, np.int64)
        self.starts = np.asarray(rows.starts, np.int64)
        self.counts = np.asarray(rows.tokens, np.int64)
        self.ends = np.cumsum(self.counts)
        self.num_tokens = int(self.ends[-1])
        self.adapters = table.adapters[self.slots]

    def spread(self, of_rows: Ints) -> Ints:
        """Repeat a value of each row for each of its tokens."""
        return of_rows if self.num_tokens == len(of_rows) else np.repeat(of_rows, self.counts)

    def positions(self) -> Ints:
        """Position of each token in its sequence."""
        if self.num_tokens == len(self.slots):
            return self.starts
        return np.arange(self.num_tokens) + self.spread(self.starts + self.counts - self.ends)


def build_step(table: SlotTable, rows: Columns, num_layers: int) -> StepBatch:
    """Lay out one step.

    Parameters
    ----------
    table : SlotTable
        Tokens and blocks of all slots.
    rows : Columns
        The pieces.
    num_layers : int
        Layers of the model.
    """
    import torch

    layout = _Layout(table, rows)
    positions = layout.positions()
    slot_of = layout.spread(layout.slots)
    whole = _segment(layout, None, 0, num_layers, positions, slot_of)
    step = StepBatch(
        input_ids=torch.from_numpy(table.tokens[slot_of, positions].astype(np.int64)),
        positions=torch.from_numpy(positions),
        sampled=None,
        segments=[whole],
        uses_adapters=bool(whole.groups),
    )
    _mark_sampled(step, layout, rows)
    if rows.layers is not None:
        _cut_layers(step, layout, rows.layers, num_layers, positions, slot_of)
    step.enter(step.segments[0])
    return step


def _mark_sampled(step: StepBatch, layout: _Layout, rows: Columns) -> None:
    import torch

    wanted = slice(None) if rows.sample is None else np.flatnonzero(np.asarray(rows.sample, bool))
    last_tokens = layout.ends[wanted] - 1
    if len(last_tokens):
        step.sampled = torch.from_numpy(last_tokens)
        step.sampled_groups = _groups(layout.adapters[wanted])


def _segment(layout: _Layout, active: Ints | None, first: int, last: int, positions: Ints, slot_of: Ints) -> Segment:
    """Lay out the rows `active` (all when None) for some layers."""
    import torch

    slots, starts, counts, ends = layout.slots, layout.starts, layout.counts, layout.ends
    tokens = None
    if active is not None:
        passing = np.zeros(len(slots), np.int64)
        passing[active] = 1
        tokens = np.flatnonzero(layout.spread(passing))
        slots, starts, counts = slots[active], starts[active], counts[active]
        ends, positions, slot_of = np.cumsum(counts), positions[tokens], slot_of[tokens]
    contexts = starts + counts
    block_size, blocks = layout.table.block_size, layout.table.blocks
    query_starts = np.zeros(len(slots) + 1, np.int32)
    query_starts[1:] = ends
    batch = RaggedBatch(
        query_starts=torch.from_numpy(query_starts),
        context_lens=torch.from_numpy(contexts.astype(np.int32)),
        block_tables=torch.from_numpy(blocks[slots, : -(-int(contexts.max()) // block_size)]),
        slots=torch.from_numpy(
            blocks[slot_of, positions // block_size] * np.int64(block_size) + positions % block_size
        ),
    )
    groups = _groups(layout.table.adapters[slot_of])
    return Segment(first, last, None if tokens is None else torch.from_numpy(tokens), batch, groups)


def _groups(adapters: Ints) -> list[Group]:
    """Collect who uses which adapter; adapter 0 is the base model."""
    if not adapters.any():
        return []
    import torch

    used = np.unique(adapters[adapters > 0])
    return [Group(int(adapter), torch.from_numpy(np.flatnonzero(adapters == adapter))) for adapter in used]


def _cut_layers(
    step: StepBatch,
    layout: _Layout,
    layers: object,
    num_layers: int,
    positions: Ints,
    slot_of: Ints,
) -> None:
    """Replace the one segment by one for each range of layers that the same rows pass."""
    ranges = np.array([range_ or (0, num_layers) for range_ in layers], np.int64)  # type: ignore[attr-defined]
    firsts, lasts = ranges[:, 0], ranges[:, 1]
    if not (firsts.any() or (lasts < num_layers).any()):
        return
    step.ragged_layers = True
    step.segments = []
    cuts = np.unique(np.concatenate([firsts, lasts])).tolist()
    for first, last in pairwise(cuts):
        active = np.flatnonzero((firsts <= first) & (lasts >= last))
        if len(active):
            step.segments.append(_segment(layout, active, first, last, positions, slot_of))
    for slot, first, last, end, count in zip(layout.slots, firsts, lasts, layout.ends, layout.counts, strict=True):
        visit = Visit(int(slot), int(end - count), int(end))
        if first:
            step.enters.setdefault(int(first), []).append(visit)
        if last < num_layers:
            step.leaves.setdefault(int(last), []).append(visit)
