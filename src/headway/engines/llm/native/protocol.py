"""The operations both kernel sets offer, with one meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from headway.engines.llm.native.batch import RaggedBatch
    from headway.engines.llm.native.layer import DecoderLayer
    from headway.engines.llm.native.packed import Packed, WeightKind


class Kernels(Protocol):
    """Every operation of the engine that is worth its own kernel.

    `name` is `native` or `torch`; `why` says why native was not chosen, empty when it was. Tensors live on the CPU
    in float32 or bfloat16, and accumulate in float32. The C++ set adds up every row in one fixed order, so a row's
    bits do not depend on the rows beside it, on the number of threads, or on how a prompt was cut into chunks; this
    holds for each of its operations in each type. The torch set promises only closeness.
    """

    name: str
    why: str

    def pack(self, weight: Tensor, kind: WeightKind | None = None) -> Packed:
        """Lay a `[N, K]` weight out for `linear`; `kind` is the weight's own type unless given.

        `int8` keeps one symmetric scale per output; `linear` then rounds each row of its input to 8 bits as well.
        With Gaussian values the product's error is about 1 % of its standard deviation.
        """

    def linear(
        self, x: Tensor, packed: Packed, bias: Tensor | None = None, out_dtype: torch.dtype | None = None
    ) -> Tensor:
        """`x [..., K]` times the packed weight, plus bias: `[..., N]`, in x's type unless `out_dtype` is given."""

    def argmax_linear(self, x: Tensor, packed: Packed) -> Tensor:
        """Index of the largest output of `linear` for each row of `x [M, K]`: int64 `[M]`, lowest index on ties.

        Compares float32 sums, as `linear(..., out_dtype=torch.float32).argmax(-1)` does.
        """

    def rms_norm(
        self, x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None, offset: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """RMSNorm of `x + residual` with weight `offset + weight`; returns the normed rows and the sum itself."""

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """`silu(gate) * up` where `gate_up [..., 2 * I]` holds gate first: `[..., I]`."""

    def gelu_tanh_mul(self, gate_up: Tensor) -> Tensor:
        """`gelu(gate) * up`, tanh form, where `gate_up [..., 2 * I]` holds gate first: `[..., I]`."""

    def rotary(self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> None:
        """Rotate `q [T, heads, D]` and `k [T, kv_heads, D]` in place by `cos`, `sin` `[T, R]`, R <= D, by halves."""

    def write_kv(self, k: Tensor, v: Tensor, k_pool: Tensor, v_pool: Tensor, slots: Tensor) -> None:
        """Copy `k`, `v` `[T, kv_heads, D]` into pools `[blocks, kv_heads, block_size, D]` at int64 `slots [T]`."""

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
        """Causal attention of `q [T, heads, D]` over the paged context: `[T, heads, D]`."""

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
        """Run one whole layer on `hidden [T, hidden]`, writing its KV; returns the new hidden states."""

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
        """Run a contiguous range of layers in one call, with one pair of pools per layer."""
