"""What fits into a replica's memory beside the weights: how many tokens of KV."""

from __future__ import annotations

import math

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.sim.serving.cost.hardware import FLOAT_BYTES, Accelerator
from headway.sim.serving.cost.model import ModelFacts


class MemoryPlan(Struct, frozen=True, kw_only=True):
    """Bytes of one accelerator of a replica, and the tokens of KV that the replica can hold.

    Parameters
    ----------
    usable_bytes, weight_bytes, activation_bytes, runtime_bytes : float
        What the engine may take, and what goes off it before KV.
    token_bytes : float
        One token's KV on this accelerator.
    num_kv_tokens : int
        How many fit.
    """

    usable_bytes: float
    weight_bytes: float
    activation_bytes: float
    runtime_bytes: float
    token_bytes: float
    num_kv_tokens: int


RUNTIME_BYTES = 0.7e9
"""Of the driver's context, libraries' workspaces and captured graphs."""
COMMUNICATION_BYTES = 0.4e9
"""More where accelerators share layers: buffers of the collectives (`nccl_mem` of aiconfigurator's system files)."""
LOGITS_ROWS = 256
"""Requests whose logits exist at once, in 32 bits and twice (the engine's bound on running requests)."""


def plan_memory(
    model: ModelFacts,
    accelerator: Accelerator,
    *,
    tensor_parallel: int,
    pipeline_parallel: int,
    weights: str,
    kv: str,
    memory_frac: float,
    max_batched_tokens: int,
) -> MemoryPlan:
    """Divide an accelerator's memory.

    Activations are those of one layer at the largest step: the residual stream and its norm, the widest pair of tensors
    of a layer, and the logits.

    Raises
    ------
    ConfigError
        When weights and activations leave no room for one token; says the bytes needed and there, and what would help.
    """
    usable = accelerator.memory_bytes * memory_frac
    shards = tensor_parallel * pipeline_parallel
    weight = model.weight_bytes(weights) / shards
    activation = activation_bytes(model, tensor_parallel, max_batched_tokens)
    runtime = RUNTIME_BYTES + (COMMUNICATION_BYTES if tensor_parallel > 1 else 0.0)
    layers = -(-model.num_layers // pipeline_parallel)
    token = layers * model.kv_layer_numbers(tensor_parallel) * FLOAT_BYTES[kv]
    num_tokens = math.floor((usable - weight - activation - runtime) / token)
    if num_tokens < 1:
        raise ConfigError(
            _too_large(model, accelerator, weight + activation + runtime + token, usable, shards, weights)
        )
    return MemoryPlan(
        usable_bytes=usable,
        weight_bytes=weight,
        activation_bytes=activation,
        runtime_bytes=runtime,
        token_bytes=token,
        num_kv_tokens=num_tokens,
    )


def activation_bytes(model: ModelFacts, tensor_parallel: int, max_batched_tokens: int) -> float:
    """Return the bytes of one layer's activations at the largest step, and of the logits."""
    width = max(model.intermediate, model.experts_per_token * model.expert_intermediate) * (model.num_mlps + 1)
    attention = (model.num_heads + 2 * model.num_kv_heads) * model.head_dim
    layer = 2.0 * (3 * model.hidden + max(width, attention) / tensor_parallel)
    return max_batched_tokens * layer + min(LOGITS_ROWS, max_batched_tokens) * model.vocab * 8.0


def _too_large(
    model: ModelFacts, accelerator: Accelerator, needed: float, usable: float, shards: int, weights: str
) -> str:
    enough = 2 ** math.ceil(math.log2(max(2.0, needed * shards / usable)))
    smaller = "" if weights in ("fp8", "int8", "int4") else " or weights = 'fp8'"
    return (
        f"replica: {model.name} must fit into the memory of {shards} x {accelerator.name}: it needs "
        f"{needed / 1e9:.1f} GB on each, {usable / 1e9:.1f} GB are there. "
        f"Try tensor_parallel x pipeline_parallel = {enough}{smaller}."
    )
