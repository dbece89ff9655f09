"""Sequences of a runner whose oldest keys and values lie with holders: what is where, and attention over all of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from headway.core.errors import ConfigError
from headway.engines.llm.model.split_attention import Part, attend_part, combine

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from headway.engines.llm.model.holder import Holder
    from headway.engines.llm.native.batch import RaggedBatch

    Whole = npt.NDArray[np.integer]


class LentSequences:
    """Which slots have lent how many of their first blocks, and to whom.

    A runner's own pool keeps the rest of such a sequence, the place of its next token always among it.
    """

    def __init__(self) -> None:
        self._holders: dict[int, list[Holder]] = {}
        self._num_blocks: dict[int, int] = {}

    def __contains__(self, slot: int) -> bool:
        return slot in self._holders

    def among(self, slots: Iterable[int]) -> bool:
        """Whether some of these slots have lent anything."""
        return bool(self._holders) and not self._holders.keys().isdisjoint(slots)

    def num_blocks(self, slot: int) -> int:
        """How many blocks of a slot are elsewhere."""
        return self._num_blocks.get(slot, 0)

    def lend(self, slot: int, blocks: Whole, holder: Holder, pools: Sequence[tuple[Tensor, Tensor]]) -> bool:
        """Copy the next `blocks` of a slot to a holder, out of the pools of all layers; says whether it has room."""
        block_size = pools[0][0].shape[2]
        if not holder.reserve(slot, len(blocks) * block_size):
            return False
        for layer, (keys, values) in enumerate(pools):
            holder.put(slot, layer, gather(keys, blocks), gather(values, blocks))
        holders = self._holders.setdefault(slot, [])
        if holder not in holders:
            holders.append(holder)
        self._num_blocks[slot] = self.num_blocks(slot) + len(blocks)
        return True

    def drop(self, slot: int) -> None:
        """Let all holders forget a slot."""
        self._num_blocks.pop(slot, None)
        for holder in self._holders.pop(slot, ()):
            holder.drop(slot)

    def mend(
        self,
        out: Tensor,
        layer: int,
        q: Tensor,
        keys: Tensor,
        values: Tensor,
        batch: RaggedBatch,
        slots: Whole,
        scale: float,
        softcap: float,
    ) -> None:
        """Put attention over all places into the rows of `out [tokens, heads, dim]` whose sequences have lent blocks.

        Holders are asked before anything is computed here, so that all of them work at the same time.
        """
        lent = [(index, int(slot)) for index, slot in enumerate(slots) if int(slot) in self._holders]
        starts = batch.query_starts.tolist()
        asked = [
            (index, slot, [holder.ask(slot, layer, _rows(q, starts, index), scale, softcap) for holder in holders])
            for index, slot in lent
            for holders in (self._holders[slot],)
        ]
        for index, slot, answers in asked:
            here = self._own_part(_rows(q, starts, index), slot, index, keys, values, batch, scale, softcap)
            whole = combine([here, *(_near(answer(), here) for answer in answers)])
            _rows(out, starts, index).copy_(whole.to(out.dtype))

    def _own_part(
        self,
        q: Tensor,
        slot: int,
        index: int,
        keys: Tensor,
        values: Tensor,
        batch: RaggedBatch,
        scale: float,
        softcap: float,
    ) -> Part:
        import torch

        block_size, first, context = keys.shape[2], self._num_blocks[slot], int(batch.context_lens[index])
        blocks = batch.block_tables[index, first : -(-context // block_size)]
        length = context - first * block_size
        places = torch.arange(length, device=q.device)
        visible = places <= places[length - len(q) :].unsqueeze(1)
        mine, theirs = gather(keys, blocks)[:length], gather(values, blocks)[:length]
        return attend_part(q, mine, theirs, scale, softcap, visible)


def gather(pool: Tensor, blocks: Whole | Tensor) -> Tensor:
    """Collect blocks of a pool `[blocks, kv_heads, block_size, dim]` as `[tokens, kv_heads, dim]`."""
    import torch

    return pool[torch.as_tensor(blocks, dtype=torch.int64, device=pool.device)].transpose(1, 2).flatten(0, 1)


def _near(part: Part, other: Part) -> Part:
    """Bring a part to where another is."""
    return Part(*(tensor.to(other.mixed.device) for tensor in part))


def check_can_lend(windows: Iterable[int]) -> None:
    """Refuse a model of which some layer sees a window alone: a holder does not know where a query stands.

    Raises
    ------
    ConfigError
        When it has such a layer.
    """
    if any(windows):
        raise ConfigError("runner: lending needs layers that see the whole context, got sliding windows. Lend nothing.")


def _rows(x: Tensor, starts: list[int], index: int) -> Tensor:
    return x[starts[index] : starts[index + 1]]
