"""One ragged batch: which tokens belong to which sequence, and where their keys and values live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RaggedBatch:
    """Tokens of several sequences side by side, prefill chunks and decodes alike.

    Parameters
    ----------
    query_starts : Tensor
        int32 `[sequences + 1]`; sequence `s` owns tokens `query_starts[s]` to `query_starts[s + 1]`.
    context_lens : Tensor
        int32 `[sequences]`; tokens of KV a sequence has once the tokens of this step are written.
        Its last new token sits at position `context_lens[s] - 1`.
    block_tables : Tensor
        int32 `[sequences, max_blocks]`; pool block of every `block_size` positions of a sequence.
        Entries past the context are never read.
    slots : Tensor
        int64 `[tokens]`; where each new token's KV goes: `block * block_size + offset`, or -1 for nowhere.
    memo : dict
        What kernels derive from the batch in one layer and need again in the next.
    """

    query_starts: Tensor
    context_lens: Tensor
    block_tables: Tensor
    slots: Tensor
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def build(
        cls, query_lens: Sequence[int], context_lens: Sequence[int], tables: Sequence[Sequence[int]], block_size: int
    ) -> RaggedBatch:
        """Lay out a batch from plain lists.

        Parameters
        ----------
        query_lens : sequence of int
            New tokens of each sequence, >= 1.
        context_lens : sequence of int
            Tokens of KV of each sequence after this step, >= its query length.
        tables : sequence of sequence of int
            Pool blocks of each sequence, enough to hold its context.
        block_size : int
            Tokens in one pool block.
        """
        import torch

        starts = [0]
        slots: list[int] = []
        for num_new, context, table in zip(query_lens, context_lens, tables, strict=True):
            starts.append(starts[-1] + num_new)
            slots += [table[p // block_size] * block_size + p % block_size for p in range(context - num_new, context)]
        width = max((len(table) for table in tables), default=0)
        rows = [list(table) + [0] * (width - len(table)) for table in tables]
        return cls(
            query_starts=torch.tensor(starts, dtype=torch.int32),
            context_lens=torch.tensor(list(context_lens), dtype=torch.int32),
            block_tables=torch.tensor(rows, dtype=torch.int32).reshape(len(tables), width),
            slots=torch.tensor(slots, dtype=torch.int64),
        )
