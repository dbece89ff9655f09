"""Paged attention in plain torch: decodes padded into one batch, prefill chunks one by one."""

from __future__ import annotations

import torch
from torch import Tensor

from headway.engines.llm.native.batch import RaggedBatch


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
    starts, contexts = batch.query_starts.long(), batch.context_lens.long()
    lens = starts.diff()
    # All decodes share one padded call; a prefill chunk is large enough to pay for its own.
    groups = [(lens == 1).nonzero().flatten()] + [index.view(1) for index in (lens > 1).nonzero().flatten()]
    for sequences in groups:
        if len(sequences) == 0:
            continue
        num_new = int(lens[sequences[0]])
        rows = starts[sequences].unsqueeze(1) + torch.arange(num_new, device=q.device)
        keys, values = (_gather(pool, batch, sequences) for pool in (k_pool, v_pool))
        visible = _visible(contexts[sequences], num_new, keys.shape[2], sliding_window)
        out[rows] = _attend(q[rows], keys, values, visible, scale, softcap)
    return out


def _gather(pool: Tensor, batch: RaggedBatch, sequences: Tensor) -> Tensor:
    """Collect the context of some sequences: `[sequences, kv_heads, keys, D]`, padded to the longest."""
    longest = int(batch.context_lens[sequences].max())
    num_blocks = -(-longest // pool.shape[2])
    blocks = pool[batch.block_tables[sequences, :num_blocks].long().clamp(0, len(pool) - 1)]
    keys = blocks.transpose(1, 2).flatten(2, 3)[:, :, :longest]
    # A padded key is hidden by the mask, but 0 * NaN is NaN: what nobody wrote yet must not be read.
    written = torch.arange(longest, device=pool.device) < batch.context_lens[sequences].unsqueeze(1)
    return keys if bool(written.all()) else torch.where(written[:, None, :, None], keys, keys.new_zeros(()))


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
