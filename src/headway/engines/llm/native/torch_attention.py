"""Paged attention in plain torch: decodes padded into one batch, prefill chunks one by one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headway.engines.llm.native.batch import RaggedBatch


@dataclass(frozen=True)
class _Group:
    """Sequences with equally many new tokens, as one padded call.

    `rows [sequences, new]` are their tokens in the batch, `blocks [sequences, blocks]` those of their context of at
    most `longest` keys, `written [sequences, longest]` says which of these exist (None when all do), and
    `visible [sequences, new, longest]` which a new token may see.
    """

    rows: Tensor
    blocks: Tensor
    longest: int
    written: Tensor | None
    visible: Tensor


def paged_attention(
    q: Tensor,
    k_pool: Tensor,
    v_pool: Tensor,
    batch: RaggedBatch,
    scale: float,
    sliding_window: int,
    softcap: float,
) -> Tensor:
    """Causal attention of `q [T, heads, D]` over the paged context: `[T, heads, D]`."""
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    num_blocks, _, block_size, _ = k_pool.shape
    key = ("torch attention", num_blocks, block_size, sliding_window)
    if key not in batch.memo:  # the layers of one step share it
        batch.memo[key] = _groups(batch, num_blocks, block_size, sliding_window)
    for group in batch.memo[key]:
        keys, values = _gather(k_pool, group), _gather(v_pool, group)
        out[group.rows] = _attend(q[group.rows], keys, values, group.visible, scale, softcap)
    return out


def _groups(batch: RaggedBatch, num_blocks: int, block_size: int, sliding_window: int) -> list[_Group]:
    """Put all decodes into one group; a prefill chunk is large enough to pay for its own."""
    lens = batch.query_starts.long().diff()
    chosen = [(lens == 1).nonzero().flatten()] + [index.view(1) for index in (lens > 1).nonzero().flatten()]
    return [_group(batch, c, int(lens[c[0]]), num_blocks, block_size, sliding_window) for c in chosen if len(c)]


def _group(
    batch: RaggedBatch, sequences: Tensor, num_new: int, num_blocks: int, block_size: int, sliding_window: int
) -> _Group:
    contexts = batch.context_lens.long()[sequences]
    longest = int(contexts.max())
    tables = batch.block_tables[sequences, : -(-longest // block_size)].long()
    written = torch.arange(longest, device=contexts.device) < contexts.unsqueeze(1)
    return _Group(
        rows=batch.query_starts.long()[sequences].unsqueeze(1) + torch.arange(num_new, device=contexts.device),
        blocks=tables.clamp(0, num_blocks - 1),
        longest=longest,
        written=None if bool(written.all()) else written,
        visible=_visible(contexts, num_new, longest, sliding_window),
    )


def _gather(pool: Tensor, group: _Group) -> Tensor:
    """Collect the context of a group: `[sequences, kv_heads, keys, D]`, padded to the longest."""
    keys = pool[group.blocks].transpose(1, 2).flatten(2, 3)[:, :, : group.longest]
    # A padded key is hidden by the mask, but 0 * NaN is NaN: what nobody wrote yet must not be read.
    if group.written is None:
        return keys
    return torch.where(group.written[:, None, :, None], keys, keys.new_zeros(()))


def _visible(contexts: Tensor, num_new: int, num_keys: int, sliding_window: int) -> Tensor:
    """Which key each new token may see: bool `[sequences, new, keys]`."""
    position = (contexts.unsqueeze(1) - num_new + torch.arange(num_new, device=contexts.device)).unsqueeze(2)
    key = torch.arange(num_keys, device=contexts.device)
    seen = key <= position
    return seen & (key > position - sliding_window) if sliding_window > 0 else seen


def _attend(q: Tensor, keys: Tensor, values: Tensor, visible: Tensor, scale: float, softcap: float) -> Tensor:
    """Attend with the query heads of one KV head as rows, so that keys are read once per group.

    `q [sequences, new, heads, D]`, keys and values `[sequences, kv_heads, keys, D]`; returns the shape of q.
    """
    num_sequences, num_new, num_heads, head_dim = q.shape
    kv_heads = keys.shape[1]
    grouped = q.view(num_sequences, num_new, kv_heads, -1, head_dim).permute(0, 2, 3, 1, 4).flatten(2, 3)
    mask = visible.repeat(1, num_heads // kv_heads, 1).unsqueeze(1)
    if softcap > 0.0:
        mixed = _capped(grouped, keys, values, mask, scale, softcap)
    else:
        mixed = torch.nn.functional.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask, scale=scale)
    mixed = mixed.reshape(num_sequences, kv_heads, -1, num_new, head_dim).permute(0, 3, 1, 2, 4)
    return mixed.reshape(num_sequences, num_new, num_heads, head_dim)


def _capped(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float, softcap: float) -> Tensor:
    scores = q.float() @ keys.float().transpose(2, 3) * scale
    capped = (softcap * torch.tanh(scores / softcap)).masked_fill(~mask, float("-inf"))
    return (capped.softmax(dim=-1) @ values.float()).to(q.dtype)
