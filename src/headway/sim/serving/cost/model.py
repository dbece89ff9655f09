"""What a model is made of, as far as a step's price depends on it: shapes, parameters, bytes, arithmetic."""

from __future__ import annotations

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.sim.serving.cost.hardware import FLOAT_BYTES


class ModelFacts(Struct, frozen=True, kw_only=True):
    """The shape of a decoder-only transformer.

    Norms and biases (below 0.1 % of the parameters) are left out. Attention counts as full in every layer: for a model
    with sliding windows, memory and time of long contexts come out too high.

    Parameters
    ----------
    name : str
        As recipes call it.
    num_layers, hidden, num_heads, vocab : int
        Of the transformer, >= 1.
    num_kv_heads : int
        Heads of keys and values, a divisor of `num_heads`.
    head_dim : int
        Numbers per head of queries and keys.
    intermediate : int
        Width of a dense MLP.
    gated : bool
        The MLP has a gate beside its up projection.
    tied : bool
        One table both embeds tokens and makes logits.
    max_context_tokens : int
        The longest sequence, >= 1; without a bound when the config names none.
    num_experts, experts_per_token, expert_intermediate, shared_intermediate : int
        Of a mixture of experts: how many, how many a token visits, their width, and the width of the experts that every
        token visits together; 0 without.
    num_dense_layers : int
        Layers of a mixture of experts that have a dense MLP.
    kv_latent, q_latent, rope_head_dim, value_head_dim : int
        Of latent attention (MLA): widths of the compressed keys and values and of the compressed queries (0: queries
        are not), the part of a head with positions, numbers per head of values; 0 without.

    Raises
    ------
    ConfigError
        When a count is not positive, or the heads do not divide.
    """

    name: str
    num_layers: int
    hidden: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    gated: bool = True
    tied: bool = False
    max_context_tokens: int = 2**31
    num_experts: int = 0
    experts_per_token: int = 0
    expert_intermediate: int = 0
    shared_intermediate: int = 0
    num_dense_layers: int = 0
    kv_latent: int = 0
    q_latent: int = 0
    rope_head_dim: int = 0
    value_head_dim: int = 0

    def __post_init__(self) -> None:
        for field in ("num_layers", "hidden", "num_heads", "num_kv_heads", "head_dim", "vocab", "max_context_tokens"):
            if getattr(self, field) < 1:
                raise ConfigError(f"model {self.name}: {field} must be >= 1, got {getattr(self, field)}.")
        if self.num_heads % self.num_kv_heads:
            counts = f"{self.num_heads} and {self.num_kv_heads}"
            raise ConfigError(f"model {self.name}: num_kv_heads must divide num_heads, got {counts}.")
        if self.num_experts and not 1 <= self.experts_per_token <= self.num_experts:
            raise ConfigError(f"model {self.name}: a token must visit 1 to {self.num_experts} experts.")

    @property
    def num_moe_layers(self) -> int:
        """How many layers have experts."""
        return self.num_layers - self.num_dense_layers if self.num_experts else 0

    @property
    def num_mlps(self) -> int:
        """Matrices per MLP, beside the one down: 2 when gated."""
        return 2 if self.gated else 1

    @property
    def parameters(self) -> int:
        """All numbers that the model has learnt."""
        experts = self.num_moe_layers * self.num_experts * self.expert_parameters
        return self.dense_parameters + experts + self.embedding_parameters

    @property
    def active_parameters(self) -> int:
        """Those that one token meets on its way to a logit."""
        experts = self.num_moe_layers * self.experts_per_token * self.expert_parameters
        return self.dense_parameters + experts + self.vocab * self.hidden

    @property
    def expert_parameters(self) -> int:
        """Of one expert of one layer."""
        return (self.num_mlps + 1) * self.hidden * self.expert_intermediate

    @property
    def embedding_parameters(self) -> int:
        """Of the tables from tokens and to logits."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def dense_parameters(self) -> int:
        """Of all layers, without routed experts."""
        attention = sum(rows * columns for rows, columns in self.attention_shapes())
        dense, moe = (sum(rows * columns for rows, columns in self.mlp_shapes(moe=moe)) for moe in (False, True))
        return self.num_layers * attention + (self.num_layers - self.num_moe_layers) * dense + self.num_moe_layers * moe

    def attention_shapes(self, num_shards: int = 1) -> tuple[tuple[int, int], ...]:
        """Return (outputs, inputs) of the products of one layer's attention, of one of `num_shards` accelerators."""
        heads = self.num_heads // num_shards
        if not self.kv_latent:
            kv_heads = max(1, self.num_kv_heads // num_shards)
            return ((heads + 2 * kv_heads) * self.head_dim, self.hidden), (self.hidden, heads * self.head_dim)
        plain = self.head_dim - self.rope_head_dim
        down = (self.q_latent + self.kv_latent + self.rope_head_dim, self.hidden)
        queries = (heads * self.head_dim, self.q_latent or self.hidden)
        keys_values = (heads * (plain + self.value_head_dim), self.kv_latent)
        return down, queries, keys_values, (self.hidden, heads * self.value_head_dim)

    def mlp_shapes(self, num_shards: int = 1, *, moe: bool = False) -> tuple[tuple[int, int], ...]:
        """Return (outputs, inputs) of the products of one layer's MLP that every token meets, router included."""
        width = self.shared_intermediate if moe else self.intermediate
        router = ((self.num_experts, self.hidden),) if moe else ()
        if not width:
            return router
        up = (-(-self.num_mlps * width // num_shards), self.hidden)
        return (*router, up, (self.hidden, -(-width // num_shards)))

    def weight_bytes(self, dtype: str = "bf16") -> float:
        """Return the bytes of all weights; the tables from tokens and to logits keep 16 bits where others have less."""
        table_bytes = max(FLOAT_BYTES[dtype], 2.0)
        tables = self.embedding_parameters
        return (self.parameters - tables) * FLOAT_BYTES[dtype] + tables * table_bytes

    def kv_layer_numbers(self, num_shards: int = 1) -> int:
        """Return how many numbers one token leaves in one layer's KV memory, on one of `num_shards` accelerators."""
        if self.kv_latent:
            return self.kv_latent + self.rope_head_dim
        return 2 * max(1, self.num_kv_heads // num_shards) * self.head_dim

    def kv_token_bytes(self, dtype: str = "bf16") -> float:
        """Return the bytes that one token leaves in KV memory, over all layers and without copies."""
        return self.num_layers * self.kv_layer_numbers() * FLOAT_BYTES[dtype]

    @property
    def token_flops(self) -> float:
        """Arithmetic of one token, attention to others not counted."""
        return 2.0 * self.active_parameters

    @property
    def pair_flops(self) -> float:
        """Arithmetic of one layer's attention from one token to one other, all heads: scores and values."""
        return 2.0 * self.num_heads * (self.head_dim + (self.value_head_dim or self.head_dim))

    @property
    def decode_pair_flops(self) -> float:
        """The same in a decode: latent attention then works on the compressed keys and values themselves."""
        if not self.kv_latent:
            return self.pair_flops
        return 2.0 * self.num_heads * (2 * self.kv_latent + self.rope_head_dim)

    def attention_flops(self, tokens: int, context_tokens: int = 0) -> float:
        """Return the arithmetic of causal attention of `tokens` new tokens after `context_tokens`, over all layers."""
        return self.num_layers * self.pair_flops * tokens * (context_tokens + tokens / 2)
