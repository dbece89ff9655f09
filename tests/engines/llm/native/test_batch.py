from __future__ import annotations

from headway.engines.llm.native import RaggedBatch


def test_slots_follow_the_block_tables() -> None:
    batch = RaggedBatch.build([3, 1], [5, 9], [[7, 2], [4, 1, 3]], block_size=4)
    assert batch.query_starts.tolist() == [0, 3, 4]
    assert batch.slots.tolist() == [7 * 4 + 2, 7 * 4 + 3, 2 * 4, 3 * 4]
    assert batch.block_tables.tolist() == [[7, 2, 0], [4, 1, 3]]


def test_an_empty_batch_has_no_tokens() -> None:
    batch = RaggedBatch.build([], [], [], block_size=16)
    assert batch.query_starts.tolist() == [0]
    assert batch.slots.numel() == 0
