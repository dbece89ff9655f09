"""Fit a price to measured steps: times that rise with tokens, contexts and chunks, none of which is negative."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise

import numpy as np
from msgspec import Struct

from headway.app.calibrate.steps import Floats, MeasuredStep, StepColumns
from headway.core.errors import ConfigError, missing_extra
from headway.sim.serving.cost.fitted import FittedPrice
from headway.sim.serving.price import BatchShape, Chunk

MIN_STEPS = 30
"""Fewer say too little."""
HELD_OUT = 5
"""One step in so many is left out of the fit, to test it."""
KNOTS = sorted({1 << power for power in range(1, 20)} | {3 << power for power in range(6)})
"""Kernels work in blocks of rows: small batches need many, large ones few."""
STEPS_PER_KNOT = 8
"""A stretch between two knots must hold so many steps."""
ROUNDS = 8
TOLERATED = 3.0
"""Steps that are further off than so many standard deviations count less, in inverse proportion."""
SIGMA_OF_MEDIAN = 1.4826
LEAST_SCATTER_FRAC = 0.002


class Fit(Struct, frozen=True, kw_only=True):
    """A price, and how far it is from steps that it has not seen.

    Parameters
    ----------
    price : FittedPrice
        What a step costs.
    errors : dict of str to float
        ``num_steps`` fitted and ``num_tested``; of the latter ``median_frac`` and ``p90_frac``, the absolute errors
        as shares of the step's time, and ``total_frac``, by how much all of them together come out too long.
    """

    price: FittedPrice
    errors: dict[str, float]


def fit(steps: Sequence[MeasuredStep]) -> Fit:
    """Fit a price to four in five steps, and test it on the fifth.

    Parameters
    ----------
    steps : sequence of MeasuredStep
        At least `MIN_STEPS`, of several sizes.

    Raises
    ------
    ConfigError
        When they are too few or all alike.
    MissingExtra
        When SciPy is not installed.

    Notes
    -----
    Least squares of relative errors under non-negative terms; a step that ran several times counts as often. Steps
    far off, which something else on the machine has delayed, lose weight round by round.
    """
    if len(steps) < MIN_STEPS:
        raise ConfigError(f"calibrate: there must be at least {MIN_STEPS} steps, got {len(steps)}. Record for longer.")
    test = steps[HELD_OUT - 1 :: HELD_OUT]
    train = [step for place, step in enumerate(steps, start=1) if place % HELD_OUT]
    price = fit_price(train)
    return Fit(price=price, errors={"num_steps": float(len(train)), **errors(price, test)})


def fit_price(steps: Sequence[MeasuredStep]) -> FittedPrice:
    """Fit a price to all of some steps."""
    columns = StepColumns(steps)
    knots = choose_knots(columns.tokens)
    rows = _terms(columns, knots)
    weights = np.sqrt(columns.num_runs) / columns.took_s
    trust = np.ones(len(columns))
    for _ in range(ROUNDS):
        found = _non_negative(rows, columns.took_s, weights * np.sqrt(trust))
        trust = _trust(rows @ found / columns.took_s - 1, columns.num_runs)
    return _price(found, knots, float(columns.took_s.min()))


def errors(price: FittedPrice, steps: Sequence[MeasuredStep]) -> dict[str, float]:
    """Return how far a price is from steps."""
    measured = np.array([step.took_s for step in steps])
    runs = np.array([step.num_runs for step in steps])
    ours = np.array([price.step_s(shape_of(step)) for step in steps])
    off = np.abs(ours / measured - 1)
    return {
        "num_tested": float(len(steps)),
        "median_frac": float(np.median(off)),
        "p90_frac": float(np.quantile(off, 0.9)),
        "total_frac": float((ours * runs).sum() / (measured * runs).sum() - 1),
    }


def shape_of(step: MeasuredStep) -> BatchShape:
    """Return a batch that costs what this step does: one of its chunks stands for all."""
    each = step.tokens - step.decodes
    chunks: list[Chunk] = []
    if step.chunks:
        # As many chunks of a token each as it takes, and one of the rest with all of the pairs.
        chunks = [Chunk(1, 0)] * (step.chunks - 1)
        rest = each - (step.chunks - 1)
        pairs = step.pairs - 0.5 * (step.chunks - 1)
        chunks.append(Chunk(rest, round(pairs / rest - 0.5 * rest)))
    return BatchShape(step.decodes, round(step.context_tokens), tuple(chunks))


def choose_knots(tokens: Floats) -> list[int]:
    """Return where the time of a step may change its slope: where there are steps enough on both sides."""
    low, high = int(tokens.min()), int(tokens.max())
    if high <= low:
        raise ConfigError(f"calibrate: steps must be of several sizes, got {low} tokens in all. Vary the requests.")
    knots = [low]
    for at in KNOTS:
        inside = int(((tokens > knots[-1]) & (tokens <= at)).sum())
        beyond = int((tokens > at).sum())
        if low < at < high and min(inside, beyond) >= STEPS_PER_KNOT:
            knots.append(at)
    return [*knots, high]


def _terms(columns: StepColumns, knots: Sequence[int]) -> Floats:
    """Return what the time is a sum of: a constant, a ramp between every two knots, and the rest of a price."""
    tokens = columns.tokens
    ramps = [np.clip(tokens - low, 0, high - low) for low, high in pairwise(knots)]
    rest = [columns.decodes, columns.context_tokens, columns.chunks, columns.pairs]
    return np.stack([np.ones(len(columns)), *ramps, *rest], axis=1)


def _non_negative(rows: Floats, took_s: Floats, weights: Floats) -> Floats:
    try:
        optimize = import_module("scipy.optimize")
    except ImportError as error:
        raise missing_extra("scipy", "plan", "to fit prices") from error
    scaled = rows * weights[:, None]
    sizes = np.linalg.norm(scaled, axis=0)
    sizes[sizes == 0] = 1.0
    found: Floats = optimize.nnls(scaled / sizes, took_s * weights)[0] / sizes
    return found


def _trust(off: Floats, num_runs: Floats) -> Floats:
    """Return how much each step counts in the next round (Huber's weights)."""
    off = np.abs(off - np.median(off)) * np.sqrt(num_runs)
    scatter = max(SIGMA_OF_MEDIAN * float(np.median(off)), LEAST_SCATTER_FRAC)
    return np.minimum(1.0, TOLERATED * scatter / np.maximum(off, 1e-12))


def _price(found: Floats, knots: Sequence[int], least_s: float) -> FittedPrice:
    base_s, (decode_s, context_s, chunk_s, pair_s) = float(found[0]), map(float, found[-4:])
    at_s, times = max(base_s, 1e-3 * least_s), []
    slopes = [0.0, *map(float, found[1:-4])]
    for slope, low, high in zip(slopes, [knots[0], *knots], knots, strict=False):
        at_s += slope * (high - low)
        times.append((high, at_s))
    return FittedPrice(
        knots=tuple(times), decode_s=decode_s, context_s=context_s, chunk_s=chunk_s, pair_s=pair_s
    )  # fmt: skip
