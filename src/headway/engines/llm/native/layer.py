"""What one decoder layer is made of, ready to be run in a single call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from headway.engines.llm.native.packed import Packed


@dataclass(frozen=True, eq=False)
class DecoderLayer:
    """The weights and constants of one pre-norm decoder layer (Llama, Qwen2, Qwen3, Mistral, Phi-3, Gemma).

    Parameters
    ----------
    input_norm, post_attention_norm : Tensor
        RMSNorm weights `[hidden]`: before attention, and before the MLP.
    qkv, output, gate_up, down : Packed
        Packed projections: `[(heads + 2 * kv_heads) * head_dim, hidden]`, `[hidden, heads * head_dim]`,
        `[2 * intermediate, hidden]` (gate first), `[hidden, intermediate]`.
    num_heads, num_kv_heads, head_dim : int
        Attention shape; `num_heads` is a multiple of `num_kv_heads`, `head_dim` a multiple of 16 in 16..256.
    scale : float
        Factor on the scores, usually `head_dim ** -0.5`.
    eps : float
        RMSNorm epsilon.
    qkv_bias, output_bias, gate_up_bias, down_bias : Tensor or None
        Biases `[N]` of the four projections.
    q_norm, k_norm : Tensor or None
        Per-head RMSNorm weights `[head_dim]` applied before rotary (Qwen3, Gemma-3).
    attention_out_norm, mlp_out_norm : Tensor or None
        RMSNorm weights `[hidden]` applied to a block's output before the residual is added (Gemma-2 and -3).
    sliding_window : int
        Keys a token may see, itself included; 0 means all.
    softcap : float
        Scores become `softcap * tanh(score / softcap)`; 0 switches it off.
    norm_offset : float
        Added to every RMSNorm weight: 1.0 for Gemma.
    activation : {"silu", "gelu_tanh"}
        What the gate goes through.
    """

    input_norm: Tensor
    post_attention_norm: Tensor
    qkv: Packed
    output: Packed
    gate_up: Packed
    down: Packed
    num_heads: int
    num_kv_heads: int
    head_dim: int
    scale: float
    eps: float
    qkv_bias: Tensor | None = None
    output_bias: Tensor | None = None
    gate_up_bias: Tensor | None = None
    down_bias: Tensor | None = None
    q_norm: Tensor | None = None
    k_norm: Tensor | None = None
    attention_out_norm: Tensor | None = None
    mlp_out_norm: Tensor | None = None
    sliding_window: int = 0
    softcap: float = 0.0
    norm_offset: float = 0.0
    activation: Literal["silu", "gelu_tanh"] = "silu"
