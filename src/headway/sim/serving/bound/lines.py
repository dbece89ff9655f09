"""Straight lines below the price of every step: what work costs at the very least, however it is batched."""

from __future__ import annotations

from functools import singledispatch
from itertools import pairwise

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.sim.serving.bound.kernels import roofline_line
from headway.sim.serving.bound.line import Line
from headway.sim.serving.cost.fitted import FittedPrice
from headway.sim.serving.cost.overlap import OverlappedPrice
from headway.sim.serving.cost.roofline import RooflinePrice
from headway.sim.serving.price import LinearPrice, StepPrice

TOUCHES = (1, 64, 256, 512, 1024, 4096, 65_536)
"""At how many tokens of a step a line touches a curved price."""

NOTHING = Line(step_s=0.0, decode_s=0.0, context_s=0.0, prefill_s=0.0, pair_s=0.0)
"""Below every price."""


@singledispatch
def lines_below(price: StepPrice, side_by_side: bool = False) -> tuple[Line, ...]:  # noqa: ARG001
    """Return lines below a price; at every size of a step one of them is close.

    Parameters
    ----------
    price : StepPrice
        One of `LinearPrice`, `RooflinePrice` and `FittedPrice`.
    side_by_side : bool
        Whether several steps may run on one instance at a time, each at its share of the compute: then these are lines
        below ``share * step_s``, without what a share does not slow down.

    Raises
    ------
    ConfigError
        When nothing is known of such a price.
    """
    raise ConfigError(
        f"bound: the price must be a LinearPrice, RooflinePrice or FittedPrice, got {type(price).__name__}. "
        "Register its lines with lines_below.register."
    )


@lines_below.register
def _(price: LinearPrice, side_by_side: bool = False) -> tuple[Line, ...]:  # noqa: ARG001 (a share slows all of it)
    prefill_s = price.prefill_token_s + price.context_token_s
    return (
        Line(
            step_s=price.fixed_s,
            decode_s=min(price.decode_s + price.context_token_s, prefill_s),
            context_s=price.context_token_s,
            prefill_s=prefill_s,
            pair_s=0.0,
            draft_s=price.decode_s,
        ),
    )


@lines_below.register
def _(price: FittedPrice, side_by_side: bool = False) -> tuple[Line, ...]:  # noqa: ARG001 (a share slows all of it)
    found = [_fitted_line(price, slope) for slope in sorted({0.0, *_slopes(price)})]
    fine = [line for line in found if min(line.step_s, line.decode_s, line.prefill_s, line.context_s) >= 0]
    return tuple(fine) or (NOTHING,)


@lines_below.register
def _(price: RooflinePrice, side_by_side: bool = False) -> tuple[Line, ...]:
    if side_by_side:
        return (roofline_line(price, TOUCHES[-1], arithmetic_only=True),)
    return tuple(roofline_line(price, touches) for touches in TOUCHES)


@lines_below.register
def _(price: OverlappedPrice, side_by_side: bool = False) -> tuple[Line, ...]:  # noqa: ARG001 (nothing in any case)
    """Of operations that run side by side nothing is claimed."""
    return (NOTHING,)


def _slopes(price: FittedPrice) -> list[Seconds]:
    """Return the slopes of its time by tokens; none above the last, with which it goes on for ever."""
    slopes = [(high_s - low_s) / (high - low) for (low, low_s), (high, high_s) in pairwise(price.knots)]
    return [slope for slope in slopes if 0 <= slope <= slopes[-1]]


def _fitted_line(price: FittedPrice, slope: Seconds) -> Line:
    """Return the highest line of a slope below its time by tokens, which is broken at the knots and near 0."""
    (low, low_s), (high, high_s) = price.knots[:2]
    first, least_s = (high_s - low_s) / (high - low), 0.5 * low_s  # below the first knot it falls to this and no more
    breaks: list[tuple[float, Seconds]] = [*price.knots, (0, max(least_s, low_s - first * low))]
    if first > 0 and low_s - first * low < least_s:
        breaks.append((low - (low_s - least_s) / first, least_s))
    if price.knots[-1][1] < price.knots[-2][1]:  # so it does beyond the last; the only slope is then 0
        breaks.append((0, least_s))
    return Line(
        step_s=min(at_s - slope * tokens for tokens, at_s in breaks),
        decode_s=slope + min(price.decode_s, price.chunk_s + 0.5 * price.pair_s),
        context_s=min(price.context_s, price.pair_s),
        prefill_s=slope + min(0.0, price.chunk_s),
        pair_s=price.pair_s,
        draft_s=slope,
    )
