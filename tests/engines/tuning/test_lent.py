"""Tensors in lent blocks: whatever goes in comes out, and nothing else is touched."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import TuneError
from headway.engines.tuning.lent import LentMemory


def make_pool(num_blocks: int = 20, widths: tuple[int, ...] = (64, 64, 32, 32)) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randint(0, 256, (num_blocks, width), dtype=torch.uint8) for width in widths]


TENSORS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 5), min_size=0, max_size=3),
        st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]),
        st.sampled_from(["plain", "turned", "sliced"]),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(TENSORS)
def test_what_goes_in_comes_out(shapes: list[tuple[list[int], torch.dtype, str, bool]]) -> None:
    pool = make_pool()
    before = [side.clone() for side in pool]
    blocks = [3, 4, 5, 9, 11, 12, 13, 17]
    memory = LentMemory(pool)
    memory.lend(blocks[:5])
    memory.lend(blocks[5:])
    kept = []
    for shape, dtype, form, stays in shapes:
        tensor = (torch.randn(shape) * 9).to(dtype)
        tensor = tensor.transpose(0, -1) if form == "turned" and shape else tensor
        tensor = tensor[..., ::2] if form == "sliced" and shape else tensor
        try:
            handle = memory.put(tensor)
        except TuneError:
            continue
        if stays:
            kept.append((tensor, handle))
        else:
            memory.free(handle)
    for tensor, handle in kept:
        out = memory.get(handle)
        assert out.dtype == tensor.dtype
        assert torch.equal(out, tensor)
        assert out.is_contiguous() or out.stride() == tensor.stride()
    others = [index for index in range(20) if index not in blocks]
    assert all(torch.equal(new[others], old[others]) for new, old in zip(pool, before, strict=True))


def test_all_of_what_is_lent_can_be_used_again_and_again() -> None:
    memory = LentMemory(make_pool())
    memory.lend([1, 2, 3])
    for _ in range(3):
        handle = memory.put(torch.arange(3 * memory.block_bytes, dtype=torch.uint8))
        with pytest.raises(TuneError, match="the memory lent must hold a microbatch"):
            memory.put(torch.zeros(1))
        memory.free(handle)
    memory.put(torch.zeros(100))
    memory.clear()
    assert memory.put(torch.zeros(3 * memory.block_bytes, dtype=torch.uint8))


def test_more_may_be_lent_while_some_is_in_use() -> None:
    memory = LentMemory(make_pool())
    memory.lend([1, 2, 3])
    first = memory.put(torch.arange(72))  # all of it
    memory.lend([4])
    second = memory.put(torch.arange(24))
    memory.free(first)
    memory.free(second)
    third = memory.put(torch.arange(96))
    assert torch.equal(memory.get(third), torch.arange(96))


def test_what_is_too_large_takes_nothing() -> None:
    memory = LentMemory(make_pool())
    memory.lend([1, 2])
    with pytest.raises(TuneError):
        memory.put(torch.zeros(2 * memory.block_bytes + 1, dtype=torch.uint8))
    memory.put(torch.zeros(2 * memory.block_bytes, dtype=torch.uint8))


def test_nothing_can_be_put_where_nothing_is_lent() -> None:
    memory = LentMemory(make_pool())
    memory.lend([1, 2])
    assert memory.take_back() == [1, 2]
    assert memory.num_lent == 0
    with pytest.raises(TuneError):
        memory.put(torch.zeros(1))
    memory.lend([2])
    memory.clear()
    memory.put(torch.zeros(1))


def test_tensors_are_counted_as_they_are_stored() -> None:
    memory = LentMemory(make_pool())
    assert memory.bytes_of(torch.zeros(16)) == 64
    assert memory.bytes_of(torch.zeros(17)) == 128
    assert memory.blocks_for(0) == 0
    assert memory.blocks_for(memory.block_bytes + 1) == 2


def test_a_pool_made_in_inference_mode_will_do() -> None:
    with torch.inference_mode():
        memory = LentMemory(make_pool())
    memory.lend([0])
    tensor = torch.randn(5)
    assert torch.equal(memory.get(memory.put(tensor)), tensor)
