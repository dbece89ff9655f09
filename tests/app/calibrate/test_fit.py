from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.app.calibrate.fit import MIN_STEPS, choose_knots, errors, fit, fit_price, shape_of
from headway.app.calibrate.steps import MeasuredStep
from headway.core.errors import ConfigError
from headway.sim.serving.cost.fitted import FittedPrice
from headway.sim.serving.price import BatchShape, Chunk

PRICE = FittedPrice(
    knots=((1, 4e-3), (32, 5e-3), (256, 2e-2), (1024, 7e-2)), decode_s=5e-5, context_s=2e-7, chunk_s=2e-4, pair_s=3e-8
)


def draw_shape(rng: np.random.Generator) -> BatchShape:
    """Decodes alone, prompts alone, or both."""
    kind = rng.integers(3)
    decodes = int(rng.integers(1, 33)) if kind != 1 else 0
    lengths = np.exp(rng.uniform(np.log(8), np.log(400), int(rng.integers(1, 4)))).astype(int) if kind else []
    chunks = tuple(Chunk(int(length), int(rng.integers(0, 500))) for length in lengths)
    return BatchShape(decodes, decodes * int(rng.integers(10, 600)), chunks)


def step_of(shape: BatchShape, took_s: float) -> MeasuredStep:
    pairs = sum(chunk.tokens * (chunk.context_tokens + 0.5 * chunk.tokens) for chunk in shape.chunks)
    return MeasuredStep(
        shape.num_tokens, shape.num_decodes, shape.context_tokens, len(shape.chunks), pairs, took_s
    )  # fmt: skip


def draw_steps(price: FittedPrice, num: int, seed: int, noise: float = 0.0) -> list[MeasuredStep]:
    rng = np.random.default_rng(seed)
    shapes = [draw_shape(rng) for _ in range(num)]
    return [step_of(shape, price.step_s(shape) * (1 + noise * rng.standard_normal())) for shape in shapes]


times = st.floats(1e-4, 1e-2)


@settings(max_examples=25, deadline=None)
@given(
    base_s=times,
    slopes=st.lists(st.floats(1e-6, 1e-4), min_size=3, max_size=3),
    decode_s=st.floats(0, 1e-4),
    context_s=st.floats(0, 1e-6),
    chunk_s=st.floats(0, 1e-3),
    pair_s=st.floats(0, 1e-7),
    seed=st.integers(0, 1000),
)
def test_a_price_is_found_again(base_s: float, slopes: list[float], seed: int, **rest: Any) -> None:
    knots = [(1, base_s)]
    for tokens, slope in zip((32, 256, 1024), slopes, strict=True):
        knots.append((tokens, knots[-1][1] + slope * (tokens - knots[-1][0])))
    price = FittedPrice(knots=tuple(knots), **rest)
    found = fit_price(draw_steps(price, 300, seed))
    assert errors(found, draw_steps(price, 60, seed + 1))["p90_frac"] < 0.02


def test_the_terms_themselves_are_found_again() -> None:
    found = fit_price(draw_steps(PRICE, 2000, seed=1, noise=0.02))
    assert found.context_s == pytest.approx(PRICE.context_s, rel=0.05)
    assert found.pair_s == pytest.approx(PRICE.pair_s, rel=0.1)
    assert found.chunk_s == pytest.approx(PRICE.chunk_s, rel=0.2)
    base_s, per_token_s = found.decode_line(16)
    assert base_s == pytest.approx(PRICE.decode_line(16)[0], rel=0.02)
    assert per_token_s == found.context_s


def test_steps_that_were_held_up_do_not_count() -> None:
    steps = draw_steps(PRICE, 600, seed=2, noise=0.01)
    held_up = [msgspec.structs.replace(step, took_s=6 * step.took_s) for step in steps[::12]]
    steps[::12] = held_up
    assert errors(fit(steps).price, draw_steps(PRICE, 100, seed=3))["median_frac"] < 0.01


def test_errors_are_of_steps_that_the_fit_has_not_seen() -> None:
    steps = draw_steps(PRICE, 400, seed=4, noise=0.01)
    spoilt = [msgspec.structs.replace(step, took_s=2 * step.took_s) for step in steps[4::5]]
    steps[4::5] = spoilt
    found = fit(steps)
    assert (found.errors["num_steps"], found.errors["num_tested"]) == (320, 80)
    assert found.errors["median_frac"] == pytest.approx(0.5, abs=0.02)
    assert found.errors["total_frac"] == pytest.approx(-0.5, abs=0.02)


def test_repeated_runs_count_as_often() -> None:
    once = [step for step in draw_steps(PRICE, 400, seed=5) if not step.chunks]
    slow = [msgspec.structs.replace(step, took_s=1.2 * step.took_s) for step in once]
    many = [msgspec.structs.replace(step, num_runs=50) for step in once]
    price = fit_price([*slow, *many])
    ratio = price.decode_line(16)[0] / PRICE.decode_line(16)[0]
    assert ratio == pytest.approx(1.0, abs=0.03)


@given(st.integers(0, 10_000))
def test_one_chunk_stands_for_all(seed: int) -> None:
    shape = draw_shape(np.random.default_rng(seed))
    again = shape_of(step_of(shape, 1.0))
    assert again.num_tokens == shape.num_tokens
    assert PRICE.step_s(again) == pytest.approx(PRICE.step_s(shape), rel=2e-3)


def test_knots_lie_where_there_are_steps_on_both_sides() -> None:
    tokens = np.array([1.0] * 10 + [3.0] * 10 + [100.0] * 10 + [101.0, 500.0])
    assert choose_knots(tokens) == [1, 3, 500]


def test_too_few_steps_are_too_few() -> None:
    with pytest.raises(ConfigError, match=rf"at least {MIN_STEPS} steps, got 3"):
        fit(draw_steps(PRICE, 3, seed=6))


def test_steps_all_alike_say_nothing_of_others() -> None:
    with pytest.raises(ConfigError, match="several sizes, got 1 tokens in all"):
        fit([step_of(BatchShape(1, 10), 1e-3)] * MIN_STEPS)
