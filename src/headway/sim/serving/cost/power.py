"""How much power a replica draws: idle, awake, and with its arithmetic and its memory at work."""

from __future__ import annotations

from functools import cache
from math import sqrt
from pathlib import Path

import msgspec
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.parameters import read_toml
from headway.sim.serving.cost.hardware import FLOAT_BYTES
from headway.sim.serving.cost.stage import Stage
from headway.sim.serving.price import BatchShape, StepPrice

POWER = Path(__file__).with_name("power.toml")
"""Fitted shares; `tools/fit_power.py` writes it."""


class PowerFit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares of the span from idle to the thermal design power that a busy accelerator draws.

    Parameters
    ----------
    awake_frac : float
        While any step runs, in [0, 1].
    compute_frac, memory_frac : float
        More at the full rate of arithmetic, and at the full bandwidth of memory, >= 0. The sum stops at 1.

    Raises
    ------
    ConfigError
        When a share is out of its range.
    """

    awake_frac: float = 0.2
    compute_frac: float = 0.9
    memory_frac: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.awake_frac <= 1 or min(self.compute_frac, self.memory_frac) < 0:
            raise ConfigError(f"power: awake_frac must be in [0, 1] and the others >= 0, got {self}. Try the defaults.")


@cache
def power_fit(accelerator: str) -> PowerFit:
    """Return the shares of an accelerator, of the one it borrows from, or plain guesses."""
    table = read_toml(POWER)
    found = table.get(accelerator, {})
    return msgspec.convert(table[found["borrow"]] if "borrow" in found else found, PowerFit)


def power_lender(accelerator: str) -> str:
    """Return whose shares an accelerator borrows; empty when they are its own, or plain guesses."""
    return str(read_toml(POWER).get(accelerator, {}).get("borrow", ""))


class PowerModel:
    """Watts of a replica while a step runs.

    Each accelerator draws ``idle + (tdp - idle) * min(1, a + c * sqrt(u_c) + m * u_m)``.

    ``u_c`` and ``u_m`` are the shares of the peaks of arithmetic and of memory bandwidth that the step makes use of in
    the time it takes.

    Parameters
    ----------
    stage : Stage
        What the step computes and reads.
    price : StepPrice
        How long it takes.
    fit : PowerFit
        The shares; None takes those that come with Headway.
    """

    def __init__(self, *, stage: Stage, price: StepPrice, fit: PowerFit | None = None) -> None:
        self.stage = stage
        self.price = price
        self.fit = fit or power_fit(stage.accelerator.name)
        accelerator, model = stage.accelerator, stage.model
        num_accelerators = stage.tensor_parallel * stage.pipeline_parallel
        self.idle_watts = num_accelerators * accelerator.idle_watts
        self.span_watts = num_accelerators * (accelerator.tdp_watts - accelerator.idle_watts)
        self._token_flops = model.token_flops / num_accelerators
        self._pair_flops = model.pair_flops * stage.num_layers / stage.tensor_parallel
        self._decode_pair_flops = model.decode_pair_flops * stage.num_layers / stage.tensor_parallel
        self._token_bytes = stage.num_layers * model.kv_layer_numbers(stage.tensor_parallel) * FLOAT_BYTES[stage.kv]
        self._arithmetic = accelerator.flops(accelerator.arithmetic(stage.weights))

    def watts(self, shape: BatchShape) -> float:
        """Return the power of all accelerators of the replica while such a step runs."""
        compute, memory = self.utilisation(shape)
        busy = self.fit.awake_frac + self.fit.compute_frac * sqrt(compute) + self.fit.memory_frac * memory
        return self.idle_watts + self.span_watts * min(1.0, busy)

    def utilisation(self, shape: BatchShape) -> tuple[float, float]:
        """Return the shares of the peaks of arithmetic and of memory bandwidth that a step makes use of."""
        tokens, attended = float(shape.num_decodes), float(shape.context_tokens)
        flops = self._decode_pair_flops * attended
        for chunk in shape.chunks:
            passes = chunk.tokens * chunk.layers_frac
            tokens += passes
            attended += chunk.context_tokens * chunk.layers_frac
            flops += self._pair_flops * passes * (chunk.context_tokens + 0.5 * chunk.tokens)
        step_s = self.price.step_s(shape)
        moved = self._weight_bytes(shape) + self._token_bytes * (attended + tokens)
        compute = (self._token_flops * tokens / self._arithmetic + flops / self.stage.accelerator.bf16_flops) / step_s
        return min(1.0, compute), min(1.0, self.stage.accelerator.read_s(moved) / step_s)

    def _weight_bytes(self, shape: BatchShape) -> float:
        """Return the bytes of weights that a step reads: chunks that pass through some layers, those of the same."""
        read = self.stage.weight_bytes
        if not shape.chunks:
            return read(shape.num_decodes)
        layers_frac = max(chunk.layers_frac for chunk in shape.chunks)
        if layers_frac == 1:
            return read(shape.num_tokens)
        return layers_frac * read(shape.num_tokens) + (1 - layers_frac) * read(shape.num_decodes)
