"""Prices of steps whose nano-batches run side by side."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from headway.core.errors import ConfigError
from headway.policies.serving.nanoflow_plan import least_s
from headway.sim.serving.cost import EngineFit, replica
from headway.sim.serving.cost.layer import Layer, rows_of
from headway.sim.serving.cost.overlap import OverlappedPrice, OverlapSpec, overlapped
from headway.sim.serving.cost.roofline import RooflinePrice
from headway.sim.serving.price import BatchShape, Chunk
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.spec import TraceSpec

MADE = replica("llama-2-70b", "a100", tensor_parallel=8)
SPEC = OverlapSpec()
QUICK = overlapped(MADE, SPEC)
SHAPES = [
    SPEC.shape,
    BatchShape(0, 0, (Chunk(2048, 0),)),
    BatchShape(1365, 1365 * 1000, (Chunk(512, 512), Chunk(171, 0))),
    BatchShape(8, 8000, (Chunk(24, 100),)),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_is_no_slower_than_one_operation_after_the_other_and_no_quicker_than_its_busiest_kind(
    shape: BatchShape,
) -> None:
    assert isinstance(MADE.price, RooflinePrice)
    layer = Layer(MADE.price.stage, MADE.price.engine.kernel_factor)
    least = MADE.price.stage.num_layers * least_s([layer.operations(rows_of(shape))])
    assert least < QUICK.price.step_s(shape) <= MADE.price.step_s(shape)


def test_the_step_that_the_plan_is_for_gains_what_hides() -> None:
    gain = MADE.price.step_s(SPEC.shape) / QUICK.price.step_s(SPEC.shape)
    assert 1.05 < gain < 1.3
    assert MADE.price.step_s(SHAPES[-1]) == QUICK.price.step_s(SHAPES[-1])  # a small one gains nothing


def test_nano_batches_one_after_the_other_cost_more_than_one_batch() -> None:
    apart = overlapped(MADE, replace(SPEC, side_by_side=False))
    assert apart.price.step_s(SPEC.shape) > 1.02 * MADE.price.step_s(SPEC.shape)


@pytest.mark.parametrize("model", ["llama-2-70b", "llama-3-8b"])
def test_operations_add_up_to_the_price_of_a_step(model: str) -> None:
    made = replica(model, "a100", tensor_parallel=8, engine_fit=EngineFit(step_s=0.0, sequence_s=0.0))
    assert isinstance(made.price, RooflinePrice)
    stage = made.price.stage
    for shape in SHAPES:
        layers_s = stage.num_layers * sum(one.alone_s for one in Layer(stage).operations(rows_of(shape)))
        head_s = stage.head_s(shape.num_decodes + len(shape.chunks))
        assert made.price.step_s(shape) == pytest.approx(layers_s + head_s)


@pytest.mark.parametrize("num", [1, 8, 500, 1400])
def test_steps_of_decodes_are_on_their_line_exactly(num: int) -> None:
    base_s, token_s = QUICK.price.decode_line(num)
    assert base_s > 0
    assert token_s >= 0
    for context in (num, 768 * num, 2000 * num):
        assert QUICK.price.step_s(BatchShape(num, context)) == base_s + token_s * context
    usual = BatchShape(num, 768 * num)
    assert QUICK.price.step_s(usual) <= MADE.price.step_s(usual)


def test_a_recipe_asks_for_it_and_says_what_is_assumed() -> None:
    fleet = FleetSpec(accelerator="a100", tensor_parallel=8, overlap=SPEC)
    trace = TraceSpec(lengths="sharegpt", num_requests=1, rate_per_s=1.0)
    scenario = ServingScenario(trace=trace, model=ModelSpec(name="llama-2-70b"), fleet=(fleet,))
    assert isinstance(scenario.places[0].replica.price, OverlappedPrice)
    assert any("overlap" in note for note in scenario.notes)


def test_other_replicas_and_wrong_steps_are_errors() -> None:
    with pytest.raises(ConfigError, match="dense model in one stage"):
        overlapped(replica("qwen3-30b-a3b", "h100"), SPEC)
    with pytest.raises(ConfigError, match="dense model in one stage"):
        overlapped(replica("llama-2-70b", "a100", tensor_parallel=4, pipeline_parallel=2), SPEC)
    for wrong in ({"decodes": 4096}, {"tokens": 0}, {"split": (0.5, 0.6)}):
        with pytest.raises(ConfigError, match="overlap: "):
            OverlapSpec(**wrong)  # type: ignore[arg-type]
