"""What the operations of an offloaded step move and take, the widest subspace that stays hidden, and time models.

Rates stand in the traits of the lanes: ``memory_bytes_per_s`` of ``gpu``, ``params_per_s`` of ``cpu`` (Adam), and
``bytes_per_s`` of ``down`` and ``up``.
"""

from __future__ import annotations

from collections.abc import Mapping

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.tuning.lsp_offload_nouns import Begin, Layer, OffloadJob, What

GRAIN = 16
"""Widths are multiples of it."""
CHECK_PASSES = 2.0
"""A check compresses and decompresses: so many times the price of compressing."""
LEARN_PASSES = 6.0
"""One iteration of learning: a check and its way back."""
RATES = {"gpu": "memory_bytes_per_s", "cpu": "params_per_s", "down": "bytes_per_s", "up": "bytes_per_s"}


def is_narrowed(matrix: tuple[int, int], width: int) -> bool:
    """Whether a matrix's gradient travels as a square of this width: if both of its sides are longer."""
    return 0 < width < min(matrix)


def num_sent(layer: Layer, width: int) -> int:
    """Return how many numbers of a layer go over a link, each way."""
    squares = [width * width if is_narrowed((m, n), width) else m * n for m, n in layer.matrices]
    return layer.num_small + sum(squares)


def num_projector_bytes(layer: Layer, width: int, nonzeros: int, param_bytes: int) -> int:
    """Return what a layer's two projectors per matrix occupy: a value and a place of 4 bytes per non-zero."""
    rows = sum(m + n for m, n in layer.matrices if is_narrowed((m, n), width))
    return rows * nonzeros * (param_bytes + 4)


def sent_bytes(job: OffloadJob, width: int) -> int:
    """Return the bytes that one step sends over each of the two links."""
    return job.param_bytes * sum(num_sent(layer, width) for layer in job.layers)


def compress_bytes(layer: Layer, width: int, nonzeros: int, param_bytes: int) -> float:
    """Return the memory traffic of P'GQ: every non-zero of a projector reads one row, caches help nothing (assumed)."""
    rows = sum(m * n + width * max(m, n) for m, n in layer.matrices if is_narrowed((m, n), width))
    return float(rows * nonzeros * param_bytes)


def op_s(what: What, layer: Layer, form: Begin, param_bytes: int, resources: Mapping[Id, Resource]) -> Seconds:
    """Return what an operation is expected to take, in seconds; learning as if it took all its iterations."""
    if what == "forward":
        return layer.forward_s
    if what == "backward":
        return layer.backward_s
    if what == "update":
        return num_sent(layer, form.width) / rate(resources, "cpu")
    if what in ("down", "up"):
        return param_bytes * num_sent(layer, form.width) / rate(resources, what)
    passes = {"check": CHECK_PASSES, "learn": LEARN_PASSES * form.learn_steps}.get(what, 1.0)
    traffic = passes * compress_bytes(layer, form.width, form.nonzeros, param_bytes)
    if what == "apply":  # the weights are read and written, and whole updates read
        traffic += param_bytes * (2 * layer.num_params + num_sent(layer, form.width))
    return traffic / rate(resources, "gpu")


def rate(resources: Mapping[Id, Resource], lane: str) -> float:
    """Return the rate that a lane's traits tell.

    Raises
    ------
    ConfigError
        When they tell none, or none above 0.
    """
    traits = resources[lane].traits if lane in resources else {}
    found = traits.get(RATES[lane], 0.0)
    if not found > 0:
        raise ConfigError(f"tuning/lsp-offload: lane {lane} must have a trait {RATES[lane]} > 0, got {found}. Add it.")
    return found


def lanes_s(job: OffloadJob, form: Begin, resources: Mapping[Id, Resource]) -> dict[str, Seconds]:
    """Return how long a step without check keeps each lane busy, in seconds."""
    gpu: tuple[What, ...] = ("forward", "backward", "compress", "apply")
    whats: dict[str, tuple[What, ...]] = {"gpu": gpu, "down": ("down",), "cpu": ("update",), "up": ("up",)}
    return {
        lane: sum(op_s(what, layer, form, job.param_bytes, resources) for layer in job.layers for what in found)
        for lane, found in whats.items()
    }


def layer_wise_s(job: OffloadJob, form: Begin, resources: Mapping[Id, Resource]) -> Seconds:
    """Return the model of a step by layers: the busiest lane, and the tail of the first layer."""
    first = job.layers[0]
    tail = [op_s(what, first, form, job.param_bytes, resources) for what in ("down", "update", "up")]
    return max(lanes_s(job, form, resources).values()) + sum(tail)


def phased_s(job: OffloadJob, form: Begin, resources: Mapping[Id, Resource]) -> Seconds:
    """Return the model of ZeRO-Offload's step: passes, gradients that backward does not hide, update, way up."""
    busy = lanes_s(job, form, resources)
    backward_s, first_s = sum(layer.backward_s for layer in job.layers), job.layers[0].backward_s
    shown_s = max(busy["down"] - (backward_s - first_s), busy["down"] / len(job.layers))
    return busy["gpu"] + shown_s + busy["cpu"] + busy["up"]


def widest(job: OffloadJob, nonzeros: int, resources: Mapping[Id, Resource]) -> int:
    """Return the largest width at which neither link nor processor is busier than the accelerator.

    It is a multiple of 16 and at most half of what the shorter side of a matrix comes to where it is longest (smaller
    matrices travel whole); the least, 16, where even that is not hidden; 0 where all matrices are too small for 16.
    """
    side = max((min(matrix) for layer in job.layers for matrix in layer.matrices), default=0)
    if side <= GRAIN:
        return 0
    for width in range(side // 2 // GRAIN * GRAIN, GRAIN, -GRAIN):
        busy = lanes_s(job, Begin(job.id, width, nonzeros), resources)
        if max(busy.values()) <= busy["gpu"]:
            return width
    return GRAIN
