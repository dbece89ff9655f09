"""A model runner without a model: it keeps what a real one keeps, checks what it is told, and samples from a script.

Instead of keys and values it writes fingerprints of prefixes into the blocks that vLLM names, and reads all of them
back whenever a request is computed. Memory that was given away, mixed up or never written is so found in the step in
which a real model would have computed nonsense.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from headway.sim.serving.price import BatchShape, Chunk

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import CachedRequestData, NewRequestData, SchedulerOutput
    from vllm.v1.outputs import ModelRunnerOutput

STOP = 1
"""The token that ends an output."""


class Row(Struct):
    """What the runner knows of a request."""

    tokens: list[int]
    num_prompt: int
    blocks: list[int]
    prints: list[int]
    computed: int = 0


class NoModel:
    """Computes nothing, as carefully as it can.

    Parameters
    ----------
    num_blocks, block_size : int
        The memory, as vLLM was told.
    checks : bool
        Whether memory is written and read; without it a step costs next to nothing.

    Attributes
    ----------
    num_steps, num_sampled : int
        Steps that were run, and tokens that were given.
    shape : BatchShape
        What the latest step came to.
    stops_at : dict of str to int
        After how many tokens of output the model stops, for those requests of which it does.
    """

    def __init__(self, num_blocks: int, block_size: int, checks: bool = True) -> None:
        self.rows: dict[str, Row] = {}
        self.stops_at: dict[str, int] = {}
        self.num_steps = 0
        self.num_sampled = 0
        self.shape = BatchShape(0, 0)
        self._block_size = block_size
        self._memory = np.zeros(num_blocks * block_size, np.uint64)
        self._checks = checks

    def run(self, told: SchedulerOutput) -> ModelRunnerOutput:
        """Run what the scheduler has handed over."""
        from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT, ModelRunnerOutput

        for id in told.finished_req_ids:
            self.rows.pop(id, None)
        for new in told.scheduled_new_reqs:
            self._begin(new)
        self._go_on(told.scheduled_cached_reqs)
        counts = told.num_scheduled_tokens
        assert told.total_num_scheduled_tokens == sum(counts.values())
        if not counts:
            return EMPTY_MODEL_RUNNER_OUTPUT
        self.num_steps += 1
        ids = list(counts)
        self.shape = self._shape(counts)
        if self._checks:
            for id in ids:
                _check_known(id, self.rows[id], counts[id])
                self._write(id, self.rows[id], counts[id])
            for id in ids:
                self._read(id, self.rows[id], counts[id])
        return ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={id: index for index, id in enumerate(ids)},
            sampled_token_ids=[self._sample(id, counts[id]) for id in ids],
        )

    def _begin(self, new: NewRequestData) -> None:
        tokens = list(new.prefill_token_ids or new.prompt_token_ids or ())
        self.rows[new.req_id] = Row(
            tokens, len(new.prompt_token_ids or ()), list(new.block_ids[0]), [], new.num_computed_tokens
        )

    def _go_on(self, cached: CachedRequestData) -> None:
        for index, id in enumerate(cached.req_ids):
            row = self.rows[id]
            row.computed = cached.num_computed_tokens[index]
            tokens = cached.all_token_ids.get(id)
            if tokens is not None:  # output that was in flight when its request was preempted may have been dropped
                assert tokens == row.tokens[: len(tokens)], f"{id}: vLLM has other tokens than were sampled"
                del row.tokens[len(tokens) :]
                del row.prints[len(tokens) :]
            blocks = cached.new_block_ids[index]
            if id in cached.resumed_req_ids:
                assert blocks is not None
                row.blocks = list(blocks[0])
            elif blocks is not None:
                row.blocks += blocks[0]

    def _shape(self, counts: Mapping[str, int]) -> BatchShape:
        """Return what a step comes to, as a price list sees it."""
        decodes, chunks = [], []
        for id, count in counts.items():
            row = self.rows[id]
            if len(row.tokens) - row.computed == 1 and len(row.tokens) > row.num_prompt:
                decodes.append(row.computed)
            else:
                chunks.append(Chunk(count, row.computed))
        return BatchShape(len(decodes), sum(decodes), tuple(chunks))

    def _sample(self, id: str, count: int) -> list[int]:
        row = self.rows[id]
        due = len(row.tokens)
        row.computed += count
        if row.computed < due:
            return []
        self.num_sampled += 1
        token = STOP if due - row.num_prompt + 1 == self.stops_at.get(id) else token_of(id, due)
        row.tokens.append(token)
        return [token]

    # Memory ----------------------------------------------------------------------------------------------------------

    def _slots(self, row: Row, until: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        size = self._block_size
        assert until <= len(row.blocks) * size, f"{until} tokens in {len(row.blocks)} blocks"
        blocks = np.array(row.blocks[: -(-until // size)], np.int64)
        assert blocks.all(), "block 0 belongs to nobody"
        return (blocks[:, None] * size + np.arange(size)).ravel()[:until]

    def _write(self, id: str, row: Row, count: int) -> None:
        until = row.computed + count
        extend_prints(row.prints, row.tokens)
        self._memory[self._slots(row, until)[row.computed :]] = np.array(row.prints[row.computed : until], np.uint64)

    def _read(self, id: str, row: Row, count: int) -> None:
        until = row.computed + count
        found = self._memory[self._slots(row, until)]
        wrong = np.flatnonzero(found != np.array(row.prints[:until], np.uint64))
        assert not len(wrong), f"{id}: its memory holds something else from position {wrong[0]} of {until} on"


def _check_known(id: str, row: Row, count: int) -> None:
    until, known = row.computed + count, len(row.tokens)
    assert 0 < count <= known - row.computed, f"{id}: {until} tokens computed of {known} known"


def extend_prints(prints: list[int], tokens: Sequence[int]) -> None:
    """Append to `prints`, which cover the front of `tokens`, those that are missing."""
    last = prints[-1] if prints else 0
    for token in tokens[len(prints) :]:
        last = (last * 0x9E3779B97F4A7C15 + token + 0x632BE59BD9B4E019) % (1 << 64)
        prints.append(last)


def token_of(id: str, position: int) -> int:
    """Return the token that a request is given at a position; never `STOP`."""
    return 2 + (sum(id.encode()) * 31 + position * 7) % 90
