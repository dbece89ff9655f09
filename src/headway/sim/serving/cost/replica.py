"""A replica: one instance of a model on its accelerators, with its prices in time, memory, power and money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.core.errors import ConfigError, unknown_name
from headway.core.nouns import Seconds
from headway.sim.serving.cost.configs import model_facts
from headway.sim.serving.cost.efficiency import Efficiency, EngineFit, efficiency, engine
from headway.sim.serving.cost.hardware import FLOAT_BYTES, Accelerator, accelerator_facts
from headway.sim.serving.cost.memory import plan_memory
from headway.sim.serving.cost.model import ModelFacts
from headway.sim.serving.cost.power import PowerModel, power_lender
from headway.sim.serving.cost.roofline import RooflinePrice
from headway.sim.serving.cost.stage import Stage
from headway.sim.serving.price import StepPrice

NODE_SIZE = 8
"""Accelerators with fast links to each other."""
START_S = 25.0
"""An engine's start beside loading weights: processes, libraries, capturing graphs. ASSUMPTION."""


@dataclass(frozen=True)
class Replica:
    """One instance, as a virtual world needs to know it.

    Parameters
    ----------
    price : StepPrice
        Of a step, of one stage.
    power : PowerModel
        Of the whole replica; None where nothing is known of it.
    num_layers, num_stages : int
        Of the model, and of the pipeline.
    num_kv_tokens : int
        How many tokens of KV fit.
    kv_token_bytes : float
        Of one token, over all layers and without copies: what a transfer moves.
    num_accelerators : int
        In all.
    usd_per_h : float
        Of all; NaN where nothing is known of it.
    load_s : float
        From nothing to ready, in seconds.
    link_bytes_per_s : float
        To another replica, over the network, all accelerators together.
    host_bytes_per_s : float
        To the memory of the host, all accelerators together.
    attend_bytes : float
        What one token's queries to a holder of keys and values and its answer have, over all layers.
    notes : tuple of str
        What to know before quoting its numbers: whose efficiencies are borrowed, what is assumed.
    """

    price: StepPrice
    power: PowerModel | None
    num_layers: int
    num_stages: int
    num_kv_tokens: int
    kv_token_bytes: float
    num_accelerators: int
    usd_per_h: float
    load_s: Seconds
    link_bytes_per_s: float
    host_bytes_per_s: float
    attend_bytes: float = 0.0
    notes: tuple[str, ...] = ()


def replica(
    model: str | Path | Mapping[str, Any] | ModelFacts,
    accelerator: str | Accelerator,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    weights: str = "bf16",
    kv: str = "bf16",
    memory_frac: float = 0.9,
    max_batched_tokens: int = 8192,
    engine_fit: str | EngineFit = "vllm",
    efficiency_fit: Efficiency | None = None,
    routing_skew: float | None = None,
) -> Replica:
    """Work out what one instance of a model costs on an accelerator.

    Parameters
    ----------
    model : str, Path, mapping or ModelFacts
        See `model_facts`.
    accelerator : str or Accelerator
        See `accelerator_facts`.
    tensor_parallel : int
        Accelerators that share each layer, 1 to 8; divides the heads.
    pipeline_parallel : int
        Stages, 1 to the number of layers.
    weights, kv : str
        Types of the numbers: ``"fp32"``, ``"bf16"``, ``"fp16"``, ``"fp8"``, ``"int8"``, ``"int4"`` (weights alone).
    memory_frac : float
        The share of an accelerator's memory that the engine may take, in (0, 1]; 0.9 as vLLM does.
    max_batched_tokens : int
        The largest step, >= 1; its activations need memory.
    engine_fit : str or EngineFit
        What the engine adds: a name in `engines.toml`, or numbers.
    efficiency_fit : Efficiency or None
        How well kernels run; None takes the fits that come with Headway.
    routing_skew : float or None
        How unevenly tokens visit the experts of a mixture, >= 0 (see `Coverage`); None takes that of the fits.

    Raises
    ------
    UnknownName
        When the model, accelerator, engine or type is not known; names the nearest three.
    ConfigError
        When a number is out of range, heads cannot be divided, or the model does not fit.
    """
    facts, hardware = model_facts(model), accelerator_facts(accelerator)
    _check(facts, tensor_parallel, pipeline_parallel, weights, kv, memory_frac, max_batched_tokens)
    added = engine(engine_fit) if isinstance(engine_fit, str) else engine_fit
    fits = efficiency_fit or efficiency(hardware.name)
    fits = fits if routing_skew is None else fits.skewed(routing_skew)
    plan = plan_memory(
        facts, hardware, tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel, weights=weights, kv=kv,
        memory_frac=memory_frac, max_batched_tokens=max_batched_tokens,
    )  # fmt: skip
    stage = Stage(
        model=facts, accelerator=hardware, tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel,
        weights=weights, kv=kv, efficiency=fits.fused() if added.fused else fits,
    )  # fmt: skip
    price = RooflinePrice(stage=stage, engine=added)
    count = tensor_parallel * pipeline_parallel
    return Replica(
        price=price,
        power=PowerModel(stage=stage, price=price),
        num_layers=facts.num_layers,
        num_stages=pipeline_parallel,
        num_kv_tokens=plan.num_kv_tokens,
        kv_token_bytes=facts.kv_token_bytes(kv),
        num_accelerators=count,
        usd_per_h=count * hardware.usd_per_h,
        load_s=START_S + plan.weight_bytes / hardware.host_bytes_per_s,
        link_bytes_per_s=count * hardware.network_bytes_per_s,
        host_bytes_per_s=count * hardware.host_bytes_per_s,
        attend_bytes=facts.num_layers * facts.num_heads * (2.0 * facts.head_dim + 4.0 * (value_dim(facts) + 2)),
        notes=tuple(_notes(hardware, fits, weights)),
    )


def value_dim(facts: ModelFacts) -> int:
    """Return the width of one head of values."""
    return facts.value_head_dim or facts.head_dim


def _check(
    model: ModelFacts, tensor: int, pipeline: int, weights: str, kv: str, memory_frac: float, max_batched_tokens: int
) -> None:
    for what, dtype, known in (("weights", weights, list(FLOAT_BYTES)), ("kv", kv, [*FLOAT_BYTES][:-1])):
        if dtype not in known:
            raise unknown_name(f"replica: type of {what}", dtype, known)
    if not 1 <= tensor <= NODE_SIZE or model.num_heads % tensor:
        fitting = [count for count in range(1, NODE_SIZE + 1) if model.num_heads % count == 0]
        raise ConfigError(
            f"replica: tensor_parallel must divide the {model.num_heads} heads of {model.name} and be <= {NODE_SIZE}, "
            f"got {tensor}. Try one of {', '.join(map(str, fitting))}."
        )
    if max(model.num_kv_heads, tensor) % min(model.num_kv_heads, tensor) and not model.kv_latent:
        raise ConfigError(
            f"replica: tensor_parallel must divide the {model.num_kv_heads} KV heads of {model.name} or be a multiple "
            f"of them, got {tensor}. Try {min(model.num_kv_heads, NODE_SIZE)}."
        )
    if not 1 <= pipeline <= model.num_layers:
        raise ConfigError(
            f"replica: pipeline_parallel must be 1 to the {model.num_layers} layers of {model.name}, got {pipeline}. "
            f"Try 1."
        )
    if not 0 < memory_frac <= 1:
        raise ConfigError(f"replica: memory_frac must be in (0, 1], got {memory_frac}. Try 0.9.")
    if max_batched_tokens < 1:
        raise ConfigError(f"replica: max_batched_tokens must be >= 1, got {max_batched_tokens}. Try 8192.")


def _notes(hardware: Accelerator, fits: Efficiency, weights: str) -> list[str]:
    notes = []
    if fits.own:
        fitted = f"fitted to one server's run: {', '.join(fits.own)}; borrowed from {fits.borrowed_from}: the rest"
        notes.append(f"{hardware.name}: kernel efficiencies {fitted}.")
    elif fits.borrowed_from:
        what = "kernel efficiencies" + (" and power" if power_lender(hardware.name) == fits.borrowed_from else "")
        notes.append(f"{hardware.name}: uncalibrated, {what} borrowed from {fits.borrowed_from}.")
    elif not fits.gemm:
        notes.append(f"{hardware.name}: uncalibrated, kernel efficiencies are plain guesses.")
    if weights not in fits.gemm and fits.gemm:
        notes.append(f"{hardware.name}: {weights} products take the efficiency of the nearest type that was measured.")
    return notes
