from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from headway.engines.llm.native import Kernels, RaggedBatch

QUERIES, CONTEXTS = [1, 1, 7, 130, 1, 33, 1], [1, 200, 7, 131, 64, 300, 17]
TYPES = [torch.float32, torch.bfloat16]
SHAPES = [(14, 2, 64, 16), (4, 4, 16, 8), (6, 1, 80, 24), (2, 1, 256, 16)]


def _exact(q: Tensor, k_pool: Tensor, v_pool: Tensor, batch: RaggedBatch, window: int, softcap: float) -> Tensor:
    """Compute attention in float64, one sequence after another."""
    out = torch.empty(q.shape, dtype=torch.float64)
    block_size, group = k_pool.shape[2], q.shape[1] // k_pool.shape[1]
    for s, context in enumerate(batch.context_lens.tolist()):
        rows = slice(*batch.query_starts[s : s + 2].tolist())
        key = torch.arange(context)
        last = key[context - len(q[rows]) :].unsqueeze(1)
        hidden = (key > last) | (key <= last - window if window else key < 0)
        block = batch.block_tables[s][key // block_size].long()
        keys, values = (p[block, :, key % block_size].double().repeat_interleave(group, 1) for p in (k_pool, v_pool))
        scores = torch.einsum("thd,khd->htk", q[rows].double(), keys) * q.shape[2] ** -0.5
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        out[rows] = torch.einsum("htk,khd->thd", weights, values)
    return out


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("window", "softcap"), [(0, 0.0), (5, 0.0), (150, 3.0)])
def test_attention_is_right(
    either: Kernels,
    paged: Callable[..., Any],
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    window: int,
    softcap: float,
) -> None:
    num_heads, kv_heads, head_dim, block_size = shape
    p = paged(QUERIES, CONTEXTS, kv_heads, head_dim, block_size, dtype)
    q = torch.randn(sum(QUERIES), num_heads, head_dim).to(dtype)
    found = either.paged_attention(q, p.k_pool, p.v_pool, p.batch, head_dim**-0.5, window, softcap)
    exact = _exact(q, p.k_pool, p.v_pool, p.batch, window, softcap)
    assert (found.double() - exact).abs().max() < (5e-6 if dtype == torch.float32 else 0.02)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("window", [0, 40])
def test_a_token_has_the_same_bits_alone_in_a_batch_and_in_chunks(
    native: Kernels, paged: Callable[..., Any], dtype: torch.dtype, window: int
) -> None:
    p = paged([301, 1, 64], [301, 77, 90], 2, 64, 16, dtype)
    q = torch.randn(366, 14, 64).to(dtype)

    def attend(rows: Tensor, batch: RaggedBatch) -> Tensor:
        return native.paged_attention(rows, p.k_pool, p.v_pool, batch, 0.125, window)

    together = attend(q, p.batch)
    assert torch.equal(attend(q[301:302], p.of(range(1, 2))), together[301:302])
    begin = 0
    for num_new in (17, 1, 128, 155):
        chunk = RaggedBatch.build([num_new], [begin + num_new], p.tables[:1], 16)
        assert torch.equal(attend(q[begin : begin + num_new], chunk), together[begin : begin + num_new])
        begin += num_new


def test_queries_may_be_a_view_of_wider_rows(either: Kernels, paged: Callable[..., Any]) -> None:
    p = paged([5], [20], 2, 32, 8, torch.float32)
    heads = torch.randn(5, 10, 32)
    found = either.paged_attention(heads[:, :6], p.k_pool, p.v_pool, p.batch, 0.2)
    torch.testing.assert_close(
        found, either.paged_attention(heads[:, :6].contiguous(), p.k_pool, p.v_pool, p.batch, 0.2)
    )


def test_written_keys_are_read_back(either: Kernels) -> None:
    batch = RaggedBatch.build([9], [9], [[3, 1]], 8)
    k, v = torch.randn(2, 9, 2, 16)
    k_pool, v_pool = torch.full((2, 4, 2, 8, 16), torch.nan)
    either.write_kv(k, v, k_pool, v_pool, batch.slots)
    assert torch.equal(torch.cat((k_pool[3], k_pool[1, :, :1]), dim=1).transpose(0, 1), k)
    assert torch.equal(torch.cat((v_pool[3], v_pool[1, :, :1]), dim=1).transpose(0, 1), v)
    assert k_pool[[0, 2]].isnan().all()


def test_a_negative_slot_writes_nothing(either: Kernels) -> None:
    pool = torch.zeros(2, 1, 8, 16)
    either.write_kv(torch.ones(1, 1, 16), torch.ones(1, 1, 16), pool, pool, torch.tensor([-1]))
    assert not pool.any()


@pytest.mark.parametrize("head_dim", [8, 24, 272])
def test_an_unsupported_head_is_one_clear_error(native: Kernels, head_dim: int) -> None:
    pool = torch.zeros(1, 1, 8, head_dim)
    batch = RaggedBatch.build([1], [1], [[0]], 8)
    with pytest.raises(RuntimeError, match=f"multiple of 16 in 16..256 - got {head_dim}"):
        native.paged_attention(torch.zeros(1, 1, head_dim), pool, pool, batch, 1.0)


@pytest.mark.parametrize("table", [[9], [-1], []])
def test_a_block_outside_the_pool_is_refused(native: Kernels, table: list[int]) -> None:
    pool, query = torch.zeros(2, 1, 8, 16), torch.zeros(1, 1, 16)
    one, none = torch.tensor([0, 1], dtype=torch.int32), torch.zeros(1, dtype=torch.int64)
    batch = RaggedBatch(one, one[1:], torch.tensor([table], dtype=torch.int32), none)
    with pytest.raises(RuntimeError, match="inside the pool"):
        native.paged_attention(query, pool, pool, batch, 1.0)


def test_a_slot_outside_the_pool_is_refused(native: Kernels) -> None:
    pool, row = torch.zeros(2, 1, 8, 16), torch.zeros(1, 1, 16)
    with pytest.raises(RuntimeError, match="inside the pool"):
        native.write_kv(row, row, pool, pool, torch.tensor([16]))
