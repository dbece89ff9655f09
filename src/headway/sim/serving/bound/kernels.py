"""Straight lines below the price of a roofline, kernel by kernel.

A product of matrices takes ``(a ** p + b ** p) ** (1 / p)`` of its arithmetic a and its traffic b. For p >= 1 that is a
norm, which lies above each of its tangent planes; for p < 1 it is at least a + b. Waste in tiles and waves is a factor
of at least one. The time of experts rises with the tokens, and lies above a staircase below it.
"""

from __future__ import annotations

import math
from functools import cache

from headway.core.nouns import Seconds
from headway.sim.serving.bound.line import Line
from headway.sim.serving.cost.efficiency import of_type
from headway.sim.serving.cost.hardware import FLOAT_BYTES
from headway.sim.serving.cost.operators import GemmFit
from headway.sim.serving.cost.roofline import RooflinePrice
from headway.sim.serving.cost.stage import Stage

MOST_TOKENS = 10**7
"""No step is larger: up to here the staircase below the experts goes."""
Once = tuple[Seconds, Seconds]
"""Time once, and per token."""


def roofline_line(price: RooflinePrice, touches: int, *, arithmetic_only: bool = False) -> Line:
    """Return a line below the price of every step, close to it for steps of about so many tokens.

    Parameters
    ----------
    price : RooflinePrice
        The price.
    touches : int
        Tokens of a step at which the lines of its products touch it, >= 1.
    arithmetic_only : bool
        Whether only arithmetic counts, of which a step that gets a share of the compute has that much more time.
    """
    stage, engine = price.stage, price.engine
    factor = engine.kernel_factor
    layers_once_s, layers_token_s = _layers(stage, touches, arithmetic_only)
    head_once_s, head_row_s = _head(stage, touches, arithmetic_only)
    once_s, token_s, read_s = _attention(stage, arithmetic_only)
    chunk_once_s, pair_s, chunk_token_s, chunk_context_s = stage.prefill_s()
    if arithmetic_only:
        chunk_token_s = chunk_context_s = 0.0
    prefill_s = factor * (layers_token_s + chunk_token_s) + (0.0 if arithmetic_only else engine.token_s)
    decode_s = factor * (layers_token_s + head_row_s + token_s) + (0.0 if arithmetic_only else engine.sequence_s)
    return Line(
        step_s=0.0
        if arithmetic_only
        else engine.step_s + factor * (layers_once_s + head_once_s + min(once_s, chunk_once_s)),
        decode_s=min(decode_s, prefill_s + factor * (0.5 * pair_s + head_row_s)),
        context_s=factor * min(read_s, pair_s + chunk_context_s),
        prefill_s=prefill_s,
        pair_s=factor * pair_s,
        draft_s=factor * (layers_token_s + head_row_s),
    )


def _layers(stage: Stage, touches: int, arithmetic_only: bool) -> Once:
    """Return products, elementwise work and communication in all layers of a stage."""
    model, tensor = stage.model, stage.tensor_parallel
    parts = [(1.0, _products(stage, model.attention_shapes(tensor), touches, arithmetic_only))]
    if stage.moe_frac < 1:
        dense = _products(stage, model.mlp_shapes(tensor), touches, arithmetic_only)
        parts.append((1 - stage.moe_frac, dense))
    if stage.moe_frac:
        moe = _products(stage, model.mlp_shapes(tensor, moe=True), touches, arithmetic_only)
        parts += [(stage.moe_frac, moe), (stage.moe_frac, _experts(stage, touches, arithmetic_only))]
    if not arithmetic_only:
        parts += [(1.0, _elementwise(stage)), (1.0, _reduce(stage, touches))]
    once_s, token_s = (sum(weight * part[place] for weight, part in parts) for place in (0, 1))
    return stage.num_layers * once_s, stage.num_layers * token_s


def _products(stage: Stage, shapes: tuple[tuple[int, int], ...], touches: int, arithmetic_only: bool) -> Once:
    lines = [_gemm(stage, stage.gemm, shape, stage.weights, touches, arithmetic_only) for shape in shapes]
    return sum(line[0] for line in lines), sum(line[1] for line in lines)


def _gemm(stage: Stage, fit: GemmFit, shape: tuple[int, int], dtype: str, touches: int, arithmetic_only: bool) -> Once:
    (outputs, inputs), on = shape, stage.accelerator
    arithmetic = on.arithmetic(dtype)
    row_s = 2.0 * outputs * inputs / (on.flops(arithmetic) * fit.compute_frac)
    if arithmetic_only:
        return 0.0, row_s
    weights_s = on.read_s(outputs * inputs * FLOAT_BYTES[dtype]) / fit.memory_frac
    moved_s = on.read_s(inputs * FLOAT_BYTES[arithmetic] + 2.0 * outputs) / fit.memory_frac
    convert_s = on.read_s(3.0 * inputs) / fit.convert_frac if fit.convert_frac else 0.0
    first, second = supporting(row_s * touches, weights_s + moved_s * touches, fit.power)
    return fit.fixed_s + second * weights_s, first * row_s + second * moved_s + convert_s


def _experts(stage: Stage, touches: int, arithmetic_only: bool) -> Once:
    fit, on, model = stage.experts, stage.accelerator, stage.model
    parameters = model.expert_parameters / stage.tensor_parallel
    per_token = model.experts_per_token
    row_s = 2.0 * per_token * parameters / (on.flops(on.arithmetic(stage.weights)) * fit.compute_frac)
    if arithmetic_only:
        return 0.0, row_s
    counts = _counts()
    times_s = [
        fit.time_s(count * per_token, stage.coverage.distinct(count), parameters, on, stage.weights) for count in counts
    ]
    # It rises with the tokens, so from each count to the next it is at least what it is at the first of them.
    stairs = list(zip(counts[1:], times_s, strict=False))
    here_s, twice_s = (
        fit.time_s(count * per_token, stage.coverage.distinct(count), parameters, on, stage.weights)
        for count in (touches, 2 * touches)
    )
    slope = min((twice_s - here_s) / touches, *(at_s / count for count, at_s in stairs))
    return min(at_s - slope * count for count, at_s in stairs), slope


@cache
def _counts() -> tuple[int, ...]:
    """Return counts of tokens from 1 on, each a little more than the last."""
    found = [1]
    while found[-1] < MOST_TOKENS:
        found.append(max(found[-1] + 1, int(1.03 * found[-1])))
    return tuple(found)


def _elementwise(stage: Stage) -> Once:
    once_s = stage.elementwise_s(0)
    return once_s, stage.elementwise_s(1) - once_s


def _reduce(stage: Stage, touches: int) -> Once:
    """Return a layer's two sums over the accelerators of a node."""
    fit, num, on = stage.efficiency.reduce, stage.tensor_parallel, stage.accelerator
    if num == 1:
        return 0.0, 0.0
    start_s = fit.fixed_s + fit.peer_s * num
    token_s = 2.0 * (num - 1) / num * stage.model.hidden * 2.0 / (on.link_bytes_per_s * fit.link_frac)
    first, second = supporting(start_s, token_s * touches, fit.power)
    return 2.0 * first * start_s, 2.0 * second * token_s


def _head(stage: Stage, touches: int, arithmetic_only: bool) -> Once:
    """Return the product to the logits."""
    shape = (-(-stage.model.vocab // stage.tensor_parallel), stage.model.hidden)
    fit = of_type(stage.efficiency.gemm, "bf16", GemmFit())
    return _gemm(stage, fit, shape, "bf16", min(touches, 512), arithmetic_only)


def _attention(stage: Stage, arithmetic_only: bool) -> tuple[Seconds, Seconds, Seconds]:
    """Return attention of decodes, of many at once: once, per decode, and per token in memory."""
    fit, on, model = stage.decode, stage.accelerator, stage.model
    compute_s = model.decode_pair_flops / stage.tensor_parallel / (on.bf16_flops * fit.compute_frac)
    if arithmetic_only:
        return 0.0, 0.0, 0.0  # it is its traffic that a share leaves alone
    numbers = model.kv_layer_numbers(stage.tensor_parallel)
    read_s = on.read_s(numbers * FLOAT_BYTES[stage.kv]) / fit.memory_frac
    token_s = stage.num_layers * max(read_s, compute_s)
    heads_s = stage.num_layers * fit.head_s * model.num_heads / stage.tensor_parallel
    return stage.num_layers * fit.fixed_s, heads_s + token_s, token_s


def supporting(first: float, second: float, power: float) -> tuple[float, float]:
    """Return factors of a plane that touches ``(a ** power + b ** power) ** (1 / power)`` at a point from below."""
    if power < 1:
        return 1.0, 1.0
    high = max(first, second)
    if math.isinf(power) or high <= 0:
        return (1.0, 0.0) if first >= second else (0.0, 1.0)
    joint = ((first / high) ** power + (second / high) ** power) ** (1 / power)
    return (first / high / joint) ** (power - 1), (second / high / joint) ** (power - 1)
