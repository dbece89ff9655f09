"""Lay out one step: from the pieces it is made of to the tensors that the model takes.

Everything is done by a handful of numpy operations on whole columns, so a step of 256 sequences costs few microseconds
more than a step of one. Scheduling waits for it at every step.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from headway.engines.llm.model.rows import Columns
from headway.engines.llm.model.slots import Ints, SlotTable
from headway.engines.llm.model.step import Group, Segment, StepBatch, Visit
from headway.engines.llm.native.batch import RaggedBatch


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
        uses_lent=table.lent.among(layout.slots.tolist()),
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
    return Segment(first, last, None if tokens is None else torch.from_numpy(tokens), batch, groups, slots)


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
