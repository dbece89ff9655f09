"""How many KV blocks an engine takes."""

from __future__ import annotations

import pytest
import torch

from headway.core.errors import ConfigError
from headway.engines.llm.model.attention import KvShape
from headway.engines.llm.model.memory import bytes_per_block, free_bytes, num_blocks


def test_a_block_holds_keys_and_values_of_all_layers() -> None:
    shapes = [KvShape(2, 64, 64), KvShape(1, 24, 16)]  # the second is padded to heads of 32
    assert bytes_per_block(shapes, 16, torch.bfloat16) == 2 * 16 * 2 * (2 * 64 + 32)


@pytest.mark.parametrize(
    ("kv_bytes", "free", "most", "expected"),
    [(0, 4000, 99, 10), (0, 4000, 7, 7), (1250, 4000, 7, 12), (4000, 4000, 99, 40)],
)
def test_a_quarter_of_what_is_free_unless_told(kv_bytes: int, free: int, most: int, expected: int) -> None:
    assert num_blocks(kv_bytes, free, 100, most) == expected


@pytest.mark.parametrize(("kv_bytes", "free"), [(99, 4000), (0, 399), (4001, 4000)])
def test_too_little_or_too_much_is_refused(kv_bytes: int, free: int) -> None:
    with pytest.raises(ConfigError, match="engine: "):
        num_blocks(kv_bytes, free, 100, 9)


def test_some_memory_is_free_here() -> None:
    assert 1 << 20 < free_bytes(torch.device("cpu")) < 1 << 50
