"""Prices of steps: what must hold whatever was fitted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.sim.serving.cost import EngineFit, Replica, replica
from headway.sim.serving.price import BatchShape, Chunk

REPLICAS = [
    replica("llama-3-8b", "a100"),
    replica("qwen3-32b", "h100", tensor_parallel=2, pipeline_parallel=2, weights="fp8", kv="fp8"),
    replica("qwen3-30b-a3b", "h200"),
    replica("deepseek-r1", "h200", tensor_parallel=8, weights="fp8"),
    replica("qwen2.5-0.5b", "cpu"),
]
replicas = st.sampled_from(REPLICAS)
chunks = st.builds(Chunk, tokens=st.integers(1, 4096), context_tokens=st.integers(0, 30_000))


@given(made=replicas, decodes=st.integers(0, 512), context=st.integers(0, 10**6))
def test_a_step_of_decodes_is_on_its_line_exactly(made: Replica, decodes: int, context: int) -> None:
    base_s, token_s = made.price.decode_line(decodes)
    assert made.price.step_s(BatchShape(decodes, context)) == base_s + token_s * context
    assert base_s > 0
    assert token_s >= 0


@given(made=replicas, decodes=st.integers(0, 300), each=st.integers(1, 4000))
def test_one_more_request_of_the_same_context_is_never_cheaper(made: Replica, decodes: int, each: int) -> None:
    step_s = made.price.step_s
    assert step_s(BatchShape(decodes + 1, (decodes + 1) * each)) > step_s(BatchShape(decodes, decodes * each))


@given(made=replicas, decodes=st.integers(0, 300), context=st.integers(0, 10**5), first=chunks, second=chunks)
def test_a_chunk_costs_and_two_cost_more(
    made: Replica, decodes: int, context: int, first: Chunk, second: Chunk
) -> None:
    context = context if decodes else 0
    one, two, none = (
        made.price.step_s(BatchShape(decodes, context, pieces)) for pieces in ((first,), (first, second), ())
    )
    assert none < one < two


@given(made=replicas, tokens=st.integers(1, 8000), context=st.integers(0, 10_000))
def test_more_tokens_and_more_context_are_never_cheaper(made: Replica, tokens: int, context: int) -> None:
    step_s = made.price.step_s
    now = step_s(BatchShape(4, 1000, (Chunk(tokens, context),)))
    assert step_s(BatchShape(4, 1000, (Chunk(tokens + 1, context),))) >= now * (1 - 1e-12)
    assert step_s(BatchShape(4, 1000, (Chunk(tokens, context + 1),))) >= now


@given(made=replicas, tokens=st.integers(1, 4096), share=st.floats(0.1, 0.99))
def test_less_compute_is_slower_but_not_slower_than_in_proportion(made: Replica, tokens: int, share: float) -> None:
    piece = (Chunk(tokens, 100),)
    full, part = (made.price.step_s(BatchShape(8, 8000, piece, share=s)) for s in (1.0, share))
    assert full < part <= full / share * (1 + 1e-9)


def test_a_share_slows_arithmetic_more_than_memory() -> None:
    step_s = replica("llama-3-8b", "a100").price.step_s
    decode = step_s(BatchShape(4, 4000, share=0.5)) / step_s(BatchShape(4, 4000))
    prefill = step_s(BatchShape(0, 0, (Chunk(4096, 0),), 0.5)) / step_s(BatchShape(0, 0, (Chunk(4096, 0),)))
    assert decode < 1.2 < 1.8 < prefill < 2


@settings(max_examples=30)
@given(made=replicas, layers=st.floats(0.05, 1.0), tokens=st.integers(1, 2000))
def test_some_of_the_layers_cost_some_of_the_time(made: Replica, layers: float, tokens: int) -> None:
    step_s = made.price.step_s
    none, all_of_it = step_s(BatchShape(8, 8000)), step_s(BatchShape(8, 8000, (Chunk(tokens, 0),)))
    some = step_s(BatchShape(8, 8000, (Chunk(tokens, 0, layers),)))
    assert none < some <= all_of_it * (1 + 1e-9)


def test_layers_in_groups_read_their_weights_once() -> None:
    made = replica("llama-3-8b", "a100", engine_fit=EngineFit(step_s=0.0, sequence_s=0.0))
    quarter, whole = (made.price.step_s(BatchShape(0, 0, (Chunk(512, 0, f),))) for f in (0.25, 1.0))
    assert 4 * quarter == pytest.approx(whole, rel=0.1)


def test_small_decodes_take_about_the_time_to_read_the_weights() -> None:
    made = replica("llama-3-8b", "a100")
    weights_s = 2 * 7.5e9 / 2.039e12
    assert weights_s < made.price.step_s(BatchShape(1, 100)) < 2 * weights_s


def test_prefill_runs_near_the_peak_of_arithmetic() -> None:
    made = replica("llama-3-8b", "h100")
    flops = 2 * 7.0e9 * 8192
    assert 0.5 < flops / 989e12 / made.price.step_s(BatchShape(0, 0, (Chunk(8192, 0),))) < 0.95


def test_more_accelerators_are_faster_but_not_in_proportion() -> None:
    one, two, eight = (replica("llama-3-8b", "a100", tensor_parallel=count).price for count in (1, 2, 8))
    for shape in (BatchShape(32, 64_000), BatchShape(0, 0, (Chunk(4096, 0),))):
        times = [price.step_s(shape) for price in (one, two, eight)]
        assert times[0] > times[1] > times[2]
        assert times[0] < 2 * times[1]
        assert times[0] < 8 * times[2]


def test_a_stage_takes_its_share_of_the_layers() -> None:
    whole, half = (replica("llama-3-70b", "h100", tensor_parallel=4, pipeline_parallel=p).price for p in (1, 2))
    shape = BatchShape(16, 16_000)
    assert 0.5 * whole.step_s(shape) < half.step_s(shape) < 0.75 * whole.step_s(shape)


def test_few_tokens_of_a_mixture_read_few_experts() -> None:
    few, many = (replica("qwen3-30b-a3b", "h100").price.step_s(BatchShape(n, 0)) for n in (1, 256))
    assert many > 2 * few


def test_eight_bits_halve_the_reads() -> None:
    wide = replica("llama-3-8b", "h100").price.decode_line(64)
    narrow = replica("llama-3-8b", "h100", weights="fp8", kv="fp8").price.decode_line(64)
    assert narrow[0] < wide[0]
    assert narrow[1] < wide[1]


def test_the_engines_own_time_is_added() -> None:
    slow = EngineFit(step_s=0.5, sequence_s=0.1, token_s=0.01)
    bare = EngineFit(step_s=0.0, sequence_s=0.0)
    shape = BatchShape(2, 100, (Chunk(10, 0),))
    added, without = (replica("llama-3-8b", "a100", engine_fit=fit).price.step_s(shape) for fit in (slow, bare))
    assert added - without == pytest.approx(0.5 + 3 * 0.1 + 10 * 0.01)
    twice = replica("llama-3-8b", "a100", engine_fit=EngineFit(step_s=0.0, sequence_s=0.0, kernel_factor=2.0))
    assert twice.price.step_s(shape) == pytest.approx(2 * without)


@pytest.mark.parametrize("model", ["qwen3-30b-a3b", "qwen3-8b"])
def test_walking_a_prompt_through_the_layers_in_parts_costs_its_kernels_once(model: str) -> None:
    made = replica(model, "h100", engine_fit=EngineFit(step_s=0.0, sequence_s=0.0, token_s=1e-6))
    step_s, idle_s = made.price.step_s, made.price.step_s(BatchShape(8, 8000))
    whole_s = step_s(BatchShape(8, 8000, (Chunk(2048, 0),)))
    walk_s = 4 * step_s(BatchShape(8, 8000, (Chunk(2048, 0, 0.25),)))
    heads_s = 3 * step_s(BatchShape(0, 0, (Chunk(1, 0, 1e-9),)))  # each step makes logits anew
    assert walk_s == pytest.approx(whole_s + 3 * idle_s, abs=heads_s)


def test_part_of_a_walk_computes_and_reads_its_part() -> None:
    made = replica("qwen3-30b-a3b", "h100")

    def amounts(*pieces: Chunk) -> list[float]:
        assert made.power is not None
        shape = BatchShape(8, 8000, pieces)
        return [used * made.price.step_s(shape) for used in made.power.utilisation(shape)]

    none, part, whole = amounts(), amounts(Chunk(4096, 0, 0.125)), amounts(Chunk(4096, 0))
    for nothing, some, all_ in zip(none, part, whole, strict=True):
        assert some - nothing == pytest.approx((all_ - nothing) / 8, rel=0.01)
