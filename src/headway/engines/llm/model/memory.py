"""How much KV memory an engine gets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headway.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from headway.engines.llm.model.attention import KvShape

FREE_FRAC = 0.25
"""Share of the free memory that KV takes unless told otherwise."""


def free_bytes(device: torch.device) -> int:
    """Memory that can still be taken on `device`, in bytes; of the container where one is set a limit."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return host_free_bytes()


def host_free_bytes() -> int:
    """Memory of this machine that can still be taken, in bytes; of the container where one is set a limit."""
    return min([_available_bytes(), *_container_bytes()])


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise ConfigError("engine: /proc/meminfo must say MemAvailable, but does not. Set kv_bytes.")


def _container_bytes() -> list[int]:
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    try:
        return [max(0, int(limit.read_text()) - int(used.read_text()))]
    except (OSError, ValueError):  # no such files, or "max": no limit
        return []


def bytes_per_block(shapes: Sequence[KvShape], block_size: int, dtype: torch.dtype) -> int:
    """Memory of one block in all layers, keys and values, in bytes."""
    return sum(2 * shape.num_kv_heads * shape.width for shape in shapes) * block_size * int(dtype.itemsize)


def num_blocks(kv_bytes: int, free: int, block_bytes: int, most: int) -> int:
    """How many blocks to allocate.

    Parameters
    ----------
    kv_bytes : int
        What was asked for; 0 takes a quarter of `free`, at most `most` blocks.
    free : int
        Memory that can be taken, in bytes.
    block_bytes : int
        Memory of one block, in bytes.
    most : int
        Blocks that `max_seqs` full contexts need.

    Raises
    ------
    ConfigError
        When not even one block fits, or more is asked for than is free.
    """
    if kv_bytes > free:
        raise ConfigError(
            f"engine: kv_bytes must be at most the free memory ({free} bytes), got {kv_bytes}. "
            "Ask for less, or 0 for automatic."
        )
    count = kv_bytes // block_bytes if kv_bytes else min(int(free * FREE_FRAC) // block_bytes, most)
    if count < 1:
        have = kv_bytes or int(free * FREE_FRAC)
        raise ConfigError(
            f"engine: KV memory must hold at least one block of {block_bytes} bytes, got {have}. Raise kv_bytes."
        )
    return count
