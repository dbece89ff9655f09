"""Our attention, plugged into `transformers`: keys and values go to the paged pool, queries read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headway.engines.llm.model.step import current

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from headway.engines.llm.model.lent import LentSequences
    from headway.engines.llm.native import Kernels

NAME = "headway"
"""The name our attention has among the attention implementations of `transformers`."""

MAX_WIDTH = 256
"""The widest head that the compiled kernels take."""

POOLS = "headway_pools"
"""The attribute of an attention module that leads to the KV memory."""


@dataclass(frozen=True)
class KvShape:
    """What one layer keeps per token: so many heads of keys `key_dim` and values `value_dim` wide."""

    num_kv_heads: int
    key_dim: int
    value_dim: int

    @property
    def width(self) -> int:
        """Width of a pool's heads: keys and values lie in pools of one shape, padded with zeros to a multiple of 16."""
        return -(-max(self.key_dim, self.value_dim) // 16) * 16

    @property
    def unpadded(self) -> bool:
        """Whether keys and values fill the pool's heads, and every kernel takes those."""
        return self.key_dim == self.value_dim == self.width <= MAX_WIDTH


@dataclass
class KvPools:
    """The paged memory of keys and values: one pair of tensors `[blocks, kv_heads, block_size, width]` per layer.

    Parameters
    ----------
    kernels : Kernels
        Who writes and reads it.
    wide_kernels : Kernels
        Who does so where heads are wider than `MAX_WIDTH`.
    lent : LentSequences or None
        Whose keys and values lie elsewhere in part; nobody's by default.
    """

    kernels: Kernels
    wide_kernels: Kernels
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    lent: LentSequences | None = None

    def allocate(self, shapes: list[KvShape], num_blocks: int, block_size: int, like: torch.Tensor) -> None:
        """Take the memory for all layers, in the type and on the device of `like`."""
        for shape in shapes:
            for side in (self.keys, self.values):
                side.append(like.new_empty(num_blocks, shape.num_kv_heads, block_size, shape.width))

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, sliding_window: int, softcap: float
    ) -> Tensor:
        """Write `k`, `v` `[tokens, kv_heads, dim]` of this step, then attend with `q [tokens, heads, dim]`."""
        step = current()
        assert step.segment is not None
        batch, keys, values = step.segment.batch, self.keys[layer], self.values[layer]
        width, value_dim = keys.shape[-1], v.shape[-1]
        kernels = self.kernels if width <= MAX_WIDTH else self.wide_kernels
        kernels.write_kv(_fitted(k, width), _fitted(v, width), keys, values, batch.slots)
        q = _fitted(q, width)
        out = kernels.paged_attention(q, keys, values, batch, scale, sliding_window, softcap)
        if step.uses_lent and self.lent is not None and step.segment.slots is not None:
            self.lent.mend(out, layer, q, keys, values, batch, step.segment.slots, scale, softcap)
        return out if value_dim == width else out[..., :value_dim]


def _fitted(x: Tensor, width: int) -> Tensor:
    """Widen heads `[tokens, heads, dim]` with zeros, and lay the heads of a token side by side."""
    import torch

    if x.shape[-1] != width:
        return torch.nn.functional.pad(x, (0, width - x.shape[-1])).contiguous()
    # A clone, since `contiguous` leaves odd strides where there is a single head.
    return x if x.stride()[1:] == (width, 1) else x.clone(memory_format=torch.contiguous_format)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend as `transformers` asks: `query [1, heads, tokens, dim]` in, `[1, tokens, heads, dim]` out."""
    pools: KvPools = getattr(module, POOLS)
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    out = pools.attend(module.layer_idx, q, k, v, scale, sliding_window or 0, softcap or 0.0)
    return out.unsqueeze(0), None


def register() -> None:
    """Make our attention known to `transformers`. No mask goes with it: causality and windows are the kernel's."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attention)
