"""The pure-torch twins: what runs where the C++ kernels cannot, and what they are tested against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headway.engines.llm.native import torch_attention, torch_linear
from headway.engines.llm.native.batch import RaggedBatch
from headway.engines.llm.native.layer import DecoderLayer
from headway.engines.llm.native.packed import Packed, WeightKind


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    width = cos.shape[-1]
    part = x[..., :width].float()
    first, second = part.chunk(2, dim=-1)
    turned = part * cos.float().unsqueeze(1) + torch.cat((-second, first), dim=-1) * sin.float().unsqueeze(1)
    x[..., :width] = turned.to(x.dtype)


class TorchKernels:
    """Every kernel in plain torch, with weights packed once for oneDNN.

    Parameters
    ----------
    why : str
        Why these are used and not the C++ ones.
    """

    name = "torch"

    def __init__(self, why: str = "") -> None:
        self.why = why

    def pack(self, weight: Tensor, kind: WeightKind | None = None) -> Packed:
        """See `Kernels.pack`."""
        return torch_linear.pack(weight, kind)

    def linear(
        self, x: Tensor, packed: Packed, bias: Tensor | None = None, out_dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Kernels.linear`."""
        assert isinstance(packed, torch_linear.TorchPacked)
        rows = torch_linear.linear(x.reshape(-1, x.shape[-1]), packed, bias)
        return rows.to(out_dtype or x.dtype).reshape(*x.shape[:-1], packed.num_outputs)

    def argmax_linear(self, x: Tensor, packed: Packed) -> Tensor:
        """See `Kernels.argmax_linear`."""
        return self.linear(x, packed, out_dtype=torch.float32).argmax(dim=-1)

    def rms_norm(
        self, x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None, offset: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.rms_norm`."""
        total = x if residual is None else x + residual
        wide = total.float()
        normed = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + eps) * (weight.float() + offset)
        return normed.to(x.dtype), total

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """See `Kernels.silu_mul`."""
        gate, up = gate_up.chunk(2, dim=-1)
        return torch.nn.functional.silu(gate) * up

    def gelu_tanh_mul(self, gate_up: Tensor) -> Tensor:
        """See `Kernels.gelu_tanh_mul`."""
        gate, up = gate_up.chunk(2, dim=-1)
        return torch.nn.functional.gelu(gate, approximate="tanh") * up

    def rotary(self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> None:
        """See `Kernels.rotary`."""
        _rotate(q, cos, sin)
        _rotate(k, cos, sin)

    def write_kv(self, k: Tensor, v: Tensor, k_pool: Tensor, v_pool: Tensor, slots: Tensor) -> None:
        """See `Kernels.write_kv`."""
        block_size = k_pool.shape[2]
        if bool((slots < 0).any()):
            kept = slots >= 0
            k, v, slots = k[kept], v[kept], slots[kept]
        block, offset = slots // block_size, slots % block_size
        k_pool[block, :, offset] = k
        v_pool[block, :, offset] = v

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
        return torch_attention.paged_attention(q, k_pool, v_pool, batch, scale, sliding_window, softcap)

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
        normed, _ = self.rms_norm(hidden, layer.input_norm, layer.eps, offset=layer.norm_offset)
        attended = self._attend(normed, layer, k_pool, v_pool, cos, sin, batch)
        hidden = hidden + self._block_norm(attended, layer.attention_out_norm, layer)
        normed, _ = self.rms_norm(hidden, layer.post_attention_norm, layer.eps, offset=layer.norm_offset)
        gate_up = self.linear(normed, layer.gate_up, layer.gate_up_bias)
        act = self.silu_mul(gate_up) if layer.activation == "silu" else self.gelu_tanh_mul(gate_up)
        return hidden + self._block_norm(self.linear(act, layer.down, layer.down_bias), layer.mlp_out_norm, layer)

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
        for layer, k_pool, v_pool in zip(layers, k_pools, v_pools, strict=True):
            hidden = self.decoder_layer(hidden, layer, k_pool, v_pool, cos, sin, batch)
        return hidden

    def _block_norm(self, x: Tensor, weight: Tensor | None, layer: DecoderLayer) -> Tensor:
        if weight is None:
            return x
        return self.rms_norm(x, weight, layer.eps, offset=layer.norm_offset)[0]

    def _attend(
        self,
        normed: Tensor,
        layer: DecoderLayer,
        k_pool: Tensor,
        v_pool: Tensor,
        cos: Tensor,
        sin: Tensor,
        batch: RaggedBatch,
    ) -> Tensor:
        groups = [layer.num_heads, layer.num_kv_heads, layer.num_kv_heads]
        heads = self.linear(normed, layer.qkv, layer.qkv_bias).view(len(normed), sum(groups), layer.head_dim)
        q, k, v = torch.split(heads, groups, dim=1)
        if layer.q_norm is not None:
            q, _ = self.rms_norm(q, layer.q_norm, layer.eps, offset=layer.norm_offset)
        if layer.k_norm is not None:
            k, _ = self.rms_norm(k, layer.k_norm, layer.eps, offset=layer.norm_offset)
        self.rotary(q, k, cos, sin)
        self.write_kv(k, v, k_pool, v_pool, batch.slots)
        out = self.paged_attention(q, k_pool, v_pool, batch, layer.scale, layer.sliding_window, layer.softcap)
        return self.linear(out.reshape(len(normed), -1), layer.output, layer.output_bias)
