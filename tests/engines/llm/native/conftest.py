"""The two kernel sets, and paged batches to try them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from headway.engines.llm.native import Kernels, RaggedBatch, kernels


@pytest.fixture(scope="session")
def native() -> Kernels:
    chosen = kernels()
    if chosen.name != "native":
        pytest.skip(f"no C++ kernels here: {chosen.why}")
    return chosen


@pytest.fixture(scope="session")
def twin() -> Kernels:
    return kernels("torch")


@pytest.fixture(params=["native", "torch"])
def either(request: pytest.FixtureRequest) -> Kernels:
    found = request.getfixturevalue("native" if request.param == "native" else "twin")
    assert isinstance(found, (type(kernels()), type(kernels("torch"))))
    return found


@dataclass(frozen=True)
class Paged:
    """Sequences with random keys and values spread over a pool whose unused part holds NaN."""

    query_lens: list[int]
    context_lens: list[int]
    tables: list[list[int]]
    k_pool: Tensor
    v_pool: Tensor

    @property
    def batch(self) -> RaggedBatch:
        return self.of(range(len(self.query_lens)))

    def of(self, sequences: range) -> RaggedBatch:
        """Return the batch of some of the sequences alone."""
        queries, contexts = ([values[s] for s in sequences] for values in (self.query_lens, self.context_lens))
        return RaggedBatch.build(queries, contexts, [self.tables[s] for s in sequences], self.k_pool.shape[2])


PagedMaker = Callable[..., Paged]


@pytest.fixture(scope="session")
def paged() -> PagedMaker:
    def make(
        query_lens: list[int],
        context_lens: list[int],
        kv_heads: int,
        head_dim: int,
        block_size: int,
        dtype: torch.dtype,
    ) -> Paged:
        dice = torch.Generator().manual_seed(7)
        needs = [-(-context // block_size) for context in context_lens]
        order = (torch.randperm(sum(needs), generator=dice) + 1).tolist()
        tables = [order[sum(needs[:i]) : sum(needs[: i + 1])] for i in range(len(needs))]
        pools = [torch.full((sum(needs) + 1, kv_heads, block_size, head_dim), torch.nan, dtype=dtype) for _ in range(2)]
        for context, table in zip(context_lens, tables, strict=True):
            position = torch.arange(context)
            for pool in pools:
                values = torch.randn(context, kv_heads, head_dim, generator=dice).to(dtype)
                pool[torch.tensor(table)[position // block_size], :, position % block_size] = values
        return Paged(query_lens, context_lens, tables, *pools)

    return make
