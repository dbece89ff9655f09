"""Prices of units of fine-tuning: what must hold whatever was fitted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.policies.serving.nouns import Phase
from headway.sim.serving.cost import RooflinePrice, replica
from headway.sim.serving.cost.tuning import RooflineUnits, kept_token_bytes
from headway.sim.serving.price import BatchShape, Chunk, LinearPrice
from headway.sim.serving.units import ChunkUnits, UnitShape


def units_of(model: str, accelerator: str, **more: int) -> tuple[RooflinePrice, RooflineUnits]:
    price = replica(model, accelerator, **more).price
    assert isinstance(price, RooflinePrice)
    return price, RooflineUnits(price)


MADE = [
    units_of("llama-3.1-8b", "a100"),
    units_of("llama-3.1-70b", "h100", tensor_parallel=4),
    units_of("qwen3-30b-a3b", "h200"),
    units_of("qwen2.5-0.5b", "cpu"),
]
PASSES: tuple[Phase, ...] = ("forward", "backward")
made = st.sampled_from(MADE)
phases: st.SearchStrategy[Phase] = st.sampled_from(["forward", "backward", "update"])


@given(pair=made, phase=phases, tokens=st.integers(1, 4096), layers=st.integers(1, 20), share=st.floats(0.05, 1.0))
def test_more_of_anything_takes_longer_and_less_compute_no_longer_than_in_proportion(
    pair: tuple[RooflinePrice, RooflineUnits], phase: Phase, tokens: int, layers: int, share: float
) -> None:
    unit_s = pair[1].unit_s
    took_s = unit_s(UnitShape(phase, tokens, layers))
    assert unit_s(UnitShape(phase, tokens, layers + 1)) > took_s > 0
    assert unit_s(UnitShape(phase, tokens + 1, layers)) >= took_s * (1 - 1e-12)
    assert took_s <= unit_s(UnitShape(phase, tokens, layers, share=share)) <= took_s / share * (1 + 1e-9)
    assert 0 < pair[1].unit_reads_frac(UnitShape(phase, tokens, layers)) <= 1


@given(pair=made, tokens=st.integers(64, 4096), layers=st.integers(2, 16))
def test_units_of_some_layers_add_up_to_one_of_all_but_for_their_starts(
    pair: tuple[RooflinePrice, RooflineUnits], tokens: int, layers: int
) -> None:
    units = pair[1]
    one = units.unit_s(UnitShape("backward", tokens, layers))
    parts = units.unit_s(UnitShape("backward", tokens, 1)) + units.unit_s(UnitShape("backward", tokens, layers - 1))
    assert one < parts < one + 1e-3


@pytest.mark.parametrize("tokens", [512, 2048])
def test_a_forward_pass_takes_about_what_a_prompt_takes_and_a_backward_pass_a_little_more(tokens: int) -> None:
    price, units = MADE[0]
    prompt_s = price.step_s(BatchShape(0, 0, (Chunk(tokens, 0),)))
    forward_s = units.unit_s(UnitShape("forward", tokens, 32))
    backward_s = units.unit_s(UnitShape("backward", tokens, 32))
    assert prompt_s == pytest.approx(forward_s, rel=0.15)
    assert 1.0 < backward_s / forward_s < 1.5
    assert units.unit_s(UnitShape("forward", tokens, 32, at_head=True)) > forward_s
    assert units.unit_s(UnitShape("update", tokens, 32)) < 0.1 * forward_s


def test_arithmetic_is_that_of_the_frozen_weights_twice_and_nothing_is_faster_than_the_peak() -> None:
    price, units = MADE[0]
    parameters = price.stage.model.dense_parameters
    flops = 2 * 2.0 * parameters * 4096
    took_s = sum(units.unit_s(UnitShape(phase, 4096, 32)) for phase in PASSES)
    assert 0.4 < flops / took_s / price.stage.accelerator.bf16_flops < 1.0


def test_what_is_kept_for_the_backward_pass_is_some_megabytes_a_token() -> None:
    assert 3e6 < kept_token_bytes(MADE[0][0].stage) < 6e6


def test_the_adapter_has_as_many_weights_as_its_rank_says() -> None:
    price = MADE[0][0]
    per_layer = 16 * ((4096 + 6144) + (4096 + 4096) + (4096 + 28672) + (14336 + 4096))
    units = RooflineUnits(price)
    assert units.num_parameters(16) == 32 * per_layer
    assert units.num_parameters(64) == 4 * 32 * per_layer
    small, large = (units.unit_s(UnitShape("update", 512, 32, rank=rank)) for rank in (16, 64))
    assert small < large


def test_examples_shorter_than_the_microbatch_attend_to_less() -> None:
    shapes = [UnitShape("forward", 4096, 32, example_tokens=tokens) for tokens in (128, 4096)]
    short, long = map(MADE[0][1].unit_s, shapes)
    assert short < long


def test_any_price_of_steps_prices_units_too() -> None:
    units = ChunkUnits(LinearPrice(), num_layers=8)
    whole, half = (units.unit_s(UnitShape("forward", 100, layers)) for layers in (8, 4))
    assert half < whole
    assert units.unit_s(UnitShape("forward", 100, 8, share=0.5)) == pytest.approx(2 * whole)
    assert units.unit_s(UnitShape("update", 100, 8)) == pytest.approx(1e-3)
    assert units.unit_reads_frac(UnitShape("forward", 100, 8)) == 0.0
    assert ChunkUnits(MADE[0][0], 32).unit_reads_frac(UnitShape("backward", 100, 8)) > 0.0


def test_pipelines_and_senseless_numbers_are_refused() -> None:
    price = replica("llama-3.1-8b", "a100", pipeline_parallel=2).price
    assert isinstance(price, RooflinePrice)
    with pytest.raises(ConfigError, match="must be one stage, got pipeline_parallel = 2"):
        RooflineUnits(price)
    with pytest.raises(ConfigError, match="num_layers must be >= 1"):
        ChunkUnits(LinearPrice(), 0)
