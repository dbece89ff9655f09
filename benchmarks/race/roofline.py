"""The most tokens per second that a model's bytes and products allow on a machine."""

from __future__ import annotations

from typing import Any

WEIGHT_BYTES = {"bf16": 2, "int8": 1}


class Shape:
    """The sizes of a decoder that the roofline needs, from its `config.json`.

    Parameters
    ----------
    config : dict
        The file, decoded. A dense decoder with gated MLP is assumed.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        head_dim = int(config.get("head_dim") or hidden // heads)
        self.kv_width = int(config.get("num_key_value_heads", heads)) * head_dim
        self.attention_width = heads * head_dim
        self.num_layers = int(config["num_hidden_layers"])
        attention = 2 * hidden * (self.attention_width + self.kv_width)
        self.block_weights = self.num_layers * (attention + 3 * hidden * int(config["intermediate_size"]))
        self.vocab_size = int(config["vocab_size"])
        self.head_weights = self.vocab_size * hidden

    def flops(self, batch: int, context: int) -> float:
        """Count the products and sums of one step: `batch` decodes, or (0) the prefill of `context` tokens."""
        if batch:
            attention = 4 * self.num_layers * self.attention_width * context
            return batch * (2 * (self.block_weights + self.head_weights) + attention)
        # A causal prefill looks back over half of its tokens on average.
        attention = 2 * self.num_layers * self.attention_width * context
        return context * (2 * self.block_weights + attention) + 2 * self.head_weights

    def bytes(self, batch: int, context: int, kind: str) -> float:
        """Count the bytes one step has to read: every weight once, and the KV cache (in bf16)."""
        kv_bytes = 2 * self.num_layers * self.kv_width * max(1, batch) * context * 2
        return (self.block_weights + self.head_weights) * WEIGHT_BYTES[kind] + kv_bytes


def tokens_per_s(shape: Shape, batch: int, context: int, kind: str, limits: dict[str, float]) -> float:
    """Return the roofline: the slower of reading the bytes once and doing the products at the measured peak.

    Products with int8 weights are counted at twice the bf16 peak, as the processor's instructions promise.
    """
    peak = limits["bfloat16_flops_per_s"] * (2 if kind == "int8" else 1)
    read_s = shape.bytes(batch, context, kind) / limits["read_bytes_per_s"]
    return (batch or context) / max(read_s, shape.flops(batch, context) / peak)
