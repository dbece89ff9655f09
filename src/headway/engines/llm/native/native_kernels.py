"""The C++ kernels behind the same doors as their torch twins."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor

from headway.engines.llm.native.batch import RaggedBatch
from headway.engines.llm.native.layer import DecoderLayer
from headway.engines.llm.native.packed import Packed, WeightKind
from headway.engines.llm.native.torch_linear import kind_of


class NativeKernels:
    """Every kernel in C++.

    Parameters
    ----------
    extension : ModuleType
        The compiled module, as `build.load` returns it.
    """

    name = "native"
    why = ""

    def __init__(self, extension: ModuleType) -> None:
        self._c: Any = extension
        self._handles: weakref.WeakKeyDictionary[DecoderLayer, Any] = weakref.WeakKeyDictionary()

    def pack(self, weight: Tensor, kind: WeightKind | None = None) -> Packed:
        """See `Kernels.pack`."""
        return cast(Packed, self._c.pack(weight.detach(), kind_of(weight, kind)))

    def linear(
        self, x: Tensor, packed: Packed, bias: Tensor | None = None, out_dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Kernels.linear`."""
        rows = x.reshape(-1, x.shape[-1])
        out = self._c.linear(rows, packed, bias, out_dtype == torch.float32)
        return cast(Tensor, out.view(*x.shape[:-1], packed.num_outputs).to(out_dtype or x.dtype))

    def argmax_linear(self, x: Tensor, packed: Packed) -> Tensor:
        """See `Kernels.argmax_linear`."""
        return cast(Tensor, self._c.argmax_linear(x, packed))

    def rms_norm(
        self, x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None, offset: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.rms_norm`."""
        return cast(tuple[Tensor, Tensor], self._c.rms_norm(x, weight, eps, residual, offset))

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """See `Kernels.silu_mul`."""
        return cast(Tensor, self._c.silu_mul(gate_up))

    def gelu_tanh_mul(self, gate_up: Tensor) -> Tensor:
        """See `Kernels.gelu_tanh_mul`."""
        return cast(Tensor, self._c.gelu_tanh_mul(gate_up))

    def rotary(self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> None:
        """See `Kernels.rotary`."""
        self._c.rotary(q, k, cos, sin)

    def write_kv(self, k: Tensor, v: Tensor, k_pool: Tensor, v_pool: Tensor, slots: Tensor) -> None:
        """See `Kernels.write_kv`."""
        self._c.write_kv(k, v, k_pool, v_pool, slots)

    def paged_attention(
        self,
        q: Tensor,
        k_pool: Tensor,
        v_pool: Tensor,
        batch: RaggedBatch,
        scale: float,
        sliding_window: int = 0,
        softcap: float = 0.0,
    ) -> Tensor:
        """See `Kernels.paged_attention`."""
        where = (batch.query_starts, batch.context_lens, batch.block_tables)
        return cast(Tensor, self._c.paged_attention(q, k_pool, v_pool, *where, scale, sliding_window, softcap))

    def decoder_layer(
        self,
        hidden: Tensor,
        layer: DecoderLayer,
        k_pool: Tensor,
        v_pool: Tensor,
        cos: Tensor,
        sin: Tensor,
        batch: RaggedBatch,
    ) -> Tensor:
        """See `Kernels.decoder_layer`."""
        return self.decoder_layers(hidden, [layer], [k_pool], [v_pool], cos, sin, batch)

    def decoder_layers(
        self,
        hidden: Tensor,
        layers: Sequence[DecoderLayer],
        k_pools: Sequence[Tensor],
        v_pools: Sequence[Tensor],
        cos: Tensor,
        sin: Tensor,
        batch: RaggedBatch,
    ) -> Tensor:
        """See `Kernels.decoder_layers`."""
        handles = [self._handles.get(layer) or self._handle(layer) for layer in layers]
        where = (batch.query_starts, batch.context_lens, batch.block_tables, batch.slots)
        return cast(Tensor, self._c.decoder_layers(hidden, handles, k_pools, v_pools, cos, sin, *where))

    def _handle(self, layer: DecoderLayer) -> object:
        """Hand a layer's weights over to C++ once; the handle lives as long as the layer."""
        handle = self._handles[layer] = self._c.make_layer(
            *(layer.input_norm, layer.post_attention_norm, layer.qkv, layer.output, layer.gate_up, layer.down),
            *(layer.num_heads, layer.num_kv_heads, layer.head_dim, layer.scale, layer.eps),
            *(layer.qkv_bias, layer.output_bias, layer.gate_up_bias, layer.down_bias),
            *(layer.q_norm, layer.k_norm, layer.attention_out_norm, layer.mlp_out_norm),
            *(layer.sliding_window, layer.softcap, layer.norm_offset, layer.activation == "silu"),
        )
        return handle
