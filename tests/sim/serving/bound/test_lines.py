from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.sim.serving.bound.kernels import supporting
from headway.sim.serving.bound.line import Line
from headway.sim.serving.bound.lines import lines_below
from headway.sim.serving.cost.fitted import FittedPrice
from headway.sim.serving.cost.replica import replica
from headway.sim.serving.price import BatchShape, Chunk, LinearPrice, StepPrice

REPLICAS = [
    ("llama-3-8b", "a100-80gb-sxm", 1, "bf16"),
    ("llama-3-8b", "h100-sxm", 1, "fp8"),
    ("llama-2-70b", "a100-80gb-sxm", 4, "bf16"),
    ("mixtral-8x7b", "h100-sxm", 2, "bf16"),
    ("yi-34b", "a100-80gb-sxm", 2, "bf16"),
]
FITTED = [
    FittedPrice(knots=((1, 0.01), (64, 0.012), (512, 0.05), (2048, 0.2)), context_s=1e-7, pair_s=1e-8),
    FittedPrice(knots=((4, 0.01), (8, 0.02), (512, 0.05)), decode_s=-1e-5, context_s=1e-7, chunk_s=-1e-3, pair_s=1e-8),
    FittedPrice(knots=((1, 0.01), (8, 0.03), (16, 0.02)), context_s=1e-7, pair_s=1e-8),
]

chunks = st.builds(
    Chunk,
    tokens=st.integers(1, 20_000),
    context_tokens=st.integers(0, 30_000),
    layers_frac=st.sampled_from([1.0, 1.0, 0.5, 0.25]),
)
shapes = st.tuples(
    st.integers(0, 600),
    st.integers(0, 4000),
    st.lists(chunks, max_size=3),
    st.sampled_from([1.0, 0.5]),
    st.integers(0, 2000),
)


@cache
def price_of(index: int) -> StepPrice:
    model, accelerator, tensor_parallel, weights = REPLICAS[index]
    return replica(model, accelerator, tensor_parallel=tensor_parallel, weights=weights).price


def below(line: Line, shape: BatchShape) -> float:
    full = 1.0 if shape.num_decodes else max(chunk.layers_frac for chunk in shape.chunks)
    total_s = line.step_s * full + line.decode_s * shape.num_decodes + line.context_s * shape.context_tokens
    total_s += line.draft_s * shape.drafted_tokens
    for chunk in shape.chunks:
        pairs = chunk.tokens * (chunk.context_tokens + 0.5 * chunk.tokens)
        total_s += chunk.layers_frac * (line.prefill_s * chunk.tokens + line.pair_s * pairs)
    return total_s


def check(price: StepPrice, num: int, each: int, some: list[Chunk], share: float, drafted: int) -> None:
    if not num and not some:
        num = 1
    drafted = drafted if num else 0
    shape = BatchShape(num, num * each, tuple(some), share, drafted)
    for line in lines_below(price):
        took_s = price.step_s(shape) * (1 + 1e-9)
        assert below(line, shape) <= took_s
        yields = line.drafting()  # of each request one token more than was drafted for it
        assert yields.decode_s * (num + drafted) <= took_s
    for line in lines_below(price, True):
        assert below(line, shape) <= share * price.step_s(shape) * (1 + 1e-9)


@settings(max_examples=150, deadline=None)
@given(index=st.integers(0, len(REPLICAS) - 1), shape=shapes)
def test_lines_are_below_a_roofline(index: int, shape: tuple[int, int, list[Chunk], float, int]) -> None:
    check(price_of(index), *shape)


@settings(max_examples=100, deadline=None)
@given(price=st.sampled_from([LinearPrice(), *FITTED]), shape=shapes)
def test_lines_are_below_other_prices(price: StepPrice, shape: tuple[int, int, list[Chunk], float, int]) -> None:
    check(price, *shape)


@pytest.mark.parametrize("index", range(len(REPLICAS)))
def test_a_token_run_through_the_layers_as_a_chunk_costs_no_less_than_a_decode(index: int) -> None:
    price = price_of(index)
    for line in lines_below(price):
        for context in (0, 100, 5000):
            as_chunk = price.step_s(BatchShape(0, 0, (Chunk(1, context),)))
            assert line.step_s + line.decode_s + line.context_s * context <= as_chunk * (1 + 1e-9)


@pytest.mark.parametrize("index", range(len(REPLICAS)))
def test_some_line_is_close_at_every_size_of_a_step(index: int) -> None:
    price = price_of(index)
    for tokens, close in ((256, 0.4), (2048, 0.6), (16_384, 0.6)):
        shape = BatchShape(0, 0, (Chunk(tokens, 0),))
        assert max(below(line, shape) for line in lines_below(price)) > close * price.step_s(shape)


def test_planes_touch_and_stay_below() -> None:
    for power in (0.6, 1.0, 2.0, 5.8, float("inf")):
        first, second = supporting(3.0, 2.0, power)
        assert first * 5.0 + second * 1.0 <= max(5.0, (5.0**power + 1.0) ** (1 / power) if power < 100 else 5.0) + 1e-12
    assert sum(w * x for w, x in zip(supporting(3.0, 2.0, 2.0), (3.0, 2.0), strict=True)) == pytest.approx(13**0.5)


def test_a_price_nobody_knows_lines_of_is_refused() -> None:
    class Strange:
        def step_s(self, shape: BatchShape) -> float:
            return 1.0

        def decode_line(self, num_decodes: int) -> tuple[float, float]:
            return 1.0, 0.0

    with pytest.raises(ConfigError, match="got Strange"):
        lines_below(Strange())
