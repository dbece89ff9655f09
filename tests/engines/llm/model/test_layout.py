"""The vectorised batch is the one that plain loops build."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engines.llm.model.layout import build_step
from headway.engines.llm.model.rows import Columns, Row
from headway.engines.llm.model.slots import SlotTable
from headway.engines.llm.native import RaggedBatch

CONTEXT, BLOCK_SIZE, NUM_LAYERS = 40, 8, 6

pieces = st.tuples(st.integers(0, 20), st.integers(1, 20), st.booleans(), st.integers(0, 2))
ranges = st.none() | st.tuples(st.integers(0, NUM_LAYERS), st.integers(0, NUM_LAYERS)).filter(lambda r: r[0] < r[1])


def open_slots(given_pieces: list[Any]) -> tuple[SlotTable, list[Row], list[list[int]], list[list[int]]]:
    table = SlotTable(2, CONTEXT, BLOCK_SIZE)
    rows, prompts, blocks = [], [], []
    for n, (start, tokens, sample, adapter) in enumerate(given_pieces):
        prompts.append([100 * n + position for position in range(start + tokens)])
        blocks.append([10 * n + index for index in range(CONTEXT // BLOCK_SIZE)])
        slot = table.open(prompts[-1], adapter)
        table.set_blocks(slot, blocks[-1])
        rows.append(Row(slot, start, tokens, None, sample))
    return table, rows, prompts, blocks


@settings(max_examples=60, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=6))
def test_a_step_is_laid_out_piece_by_piece(given_pieces: list[Any]) -> None:
    table, rows, prompts, blocks = open_slots(given_pieces)
    step = build_step(table, Columns.of(rows), NUM_LAYERS)
    positions = [row.start + n for row in rows for n in range(row.tokens)]
    assert step.positions.tolist() == positions
    assert step.input_ids.tolist() == [
        prompt[row.start + n] for row, prompt in zip(rows, prompts, strict=True) for n in range(row.tokens)
    ]
    expected = RaggedBatch.build(
        [row.tokens for row in rows], [row.start + row.tokens for row in rows], blocks, BLOCK_SIZE
    )
    batch = step.segments[0].batch
    assert batch.query_starts.equal(expected.query_starts)
    assert batch.context_lens.equal(expected.context_lens)
    assert batch.slots.equal(expected.slots)
    assert batch.block_tables.equal(expected.block_tables[:, : batch.block_tables.shape[1]])
    assert batch.block_tables.shape[1] * BLOCK_SIZE >= int(batch.context_lens.max())
    last = torch.tensor([row.tokens for row in rows]).cumsum(0) - 1
    wanted = [int(end) for row, end in zip(rows, last, strict=True) if row.sample]
    assert ([] if step.sampled is None else step.sampled.tolist()) == wanted


@settings(max_examples=60, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=6), st.data())
def test_every_token_passes_exactly_the_layers_of_its_range(given_pieces: list[Any], data: st.DataObject) -> None:
    table, rows, *_ = open_slots(given_pieces)
    rows = [row._replace(layers=data.draw(ranges), sample=False) for row in rows]
    step = build_step(table, Columns.of(rows), NUM_LAYERS)
    num_tokens = sum(row.tokens for row in rows)
    passed = torch.zeros(num_tokens, NUM_LAYERS, dtype=torch.bool)
    for segment in step.segments:
        tokens = slice(None) if segment.tokens is None else segment.tokens
        assert not passed[tokens, segment.first : segment.last].any()
        passed[tokens, segment.first : segment.last] = True
        assert int(segment.batch.query_starts[-1]) == len(segment.batch.slots) == len(passed[tokens])
    token = 0
    for row in rows:
        first, last = row.layers or (0, NUM_LAYERS)
        for _ in range(row.tokens):
            assert passed[token].nonzero().flatten().tolist() == list(range(first, last))
            token += 1


@settings(max_examples=40, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=6))
def test_groups_are_the_tokens_of_each_adapter(given_pieces: list[Any]) -> None:
    table, rows, *_ = open_slots(given_pieces)
    step = build_step(table, Columns.of(rows), NUM_LAYERS)
    owner = [adapter for (_, tokens, _, adapter) in given_pieces for _ in range(tokens)]
    groups = {group.adapter: group.tokens.tolist() for group in step.groups}
    assert groups == {a: [n for n, other in enumerate(owner) if other == a] for a in sorted(set(owner) - {0})}
    assert step.uses_adapters == any(owner)
    sampled = [adapter for (_, _, sample, adapter) in given_pieces if sample]
    of_sampled = {group.adapter: group.tokens.tolist() for group in step.sampled_groups}
    assert of_sampled == {a: [n for n, other in enumerate(sampled) if other == a] for a in sorted(set(sampled) - {0})}


def test_slots_are_given_back_and_grow_when_they_run_out() -> None:
    table = SlotTable(2, CONTEXT, BLOCK_SIZE)
    slots = [table.open([n]) for n in range(5)]
    assert len(set(slots)) == 5
    assert [int(table.tokens[slot, 0]) for slot in slots] == [0, 1, 2, 3, 4]
    table.append(slots, [9] * 5)
    table.append(slots[2], 8)
    assert table.tokens[slots[2], :3].tolist() == [2, 9, 8]
    table.close(slots[2])
    assert table.open([7]) == slots[2]


def test_a_step_on_another_device_is_the_same_step() -> None:
    table, rows, *_ = open_slots([(0, 3, True, 1), (4, 1, False, 0)])
    step = build_step(table, Columns.of(rows), NUM_LAYERS)
    moved = step.on(torch.device("cpu"))
    assert moved is not step
    assert moved.input_ids.equal(step.input_ids)
    assert moved.segments[0].batch.slots.equal(step.segments[0].batch.slots)
    assert moved.groups[0].tokens.equal(step.groups[0].tokens)
    assert moved.sampled_groups[0].tokens.equal(step.sampled_groups[0].tokens)
    assert moved.segment is moved.segments[0]
