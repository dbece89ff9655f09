"""Fine-tuning in recipes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.core.parameters import decode
from headway.sim.serving.recipe import FleetSpec
from headway.sim.serving.scenario import ServingScenario
from headway.sim.serving.tune_spec import TuneJobSpec, TuningSpec

SETTING: dict[str, Any] = {
    "trace": {"lengths": "azure-conv", "num_requests": 60, "rate_per_s": 4.0},
    "model": {"name": "llama-3.1-8b"},
    "slo": [{"ttft_s": 1.0, "tpot_s": 0.04}],
    "tune": [{"num_microbatches": 40, "batch_microbatches": 4}],
}


def scenario(**more: Any) -> ServingScenario:
    made: ServingScenario = decode(ServingScenario, SETTING | more, where="recipe")
    return made


def test_a_recipe_trains_beside_serving_and_tells_of_it() -> None:
    outcome = scenario().play(catalogue.build("tuning/harli"))
    numbers = outcome.report.numbers
    assert numbers["num_finished"] == 60
    assert numbers["tune_tokens"] > 0
    assert numbers["tune_tokens_per_s"] == pytest.approx(numbers["tune_tokens"] / outcome.report.duration_s)
    assert 0 < numbers["tune_unit_s"] <= outcome.report.duration_s
    assert numbers["busy_frac"] <= 1 + 1e-9


def test_the_timeline_has_a_lane_for_fine_tuning() -> None:
    spans = scenario().play(catalogue.build("tuning/harli")).spans
    own = spans["resource"] == "main tuning"
    assert own.any()
    assert set(spans["name"][own]) == {"unit"}
    starts, ends = spans["start_s"][own], spans["end_s"][own]
    assert (starts[1:] >= ends[:-1] - 1e-9).all()
    assert {"decode", "prompts"} <= set(spans["name"][~own])


def test_a_run_goes_on_until_the_jobs_are_done_when_it_is_asked_to() -> None:
    numbers = scenario(tuning={"until_done": True}).play(catalogue.build("tuning/harli")).report.numbers
    assert numbers["tune_jobs_done"] == 1
    assert numbers["tune_tokens"] == 40 * 512
    assert numbers["tune_steps"] == 10


def test_serving_alone_is_the_same_whatever_waits_to_be_trained() -> None:
    alone, beside = (scenario(**more).play(catalogue.build("serving/sarathi")) for more in ({"tune": []}, {}))
    assert "tune_tokens" not in alone.report.numbers
    assert beside.report.numbers["tune_tokens"] == 0
    np.testing.assert_array_equal(alone.works["e2e_s"], beside.works["e2e_s"])


def test_energy_of_units_is_counted() -> None:
    idle, trained = (
        scenario(tuning={"noise_frac": 0.0}).play(catalogue.build(id)).report.numbers
        for id in ("serving/sarathi", "tuning/harli")
    )
    assert trained["mean_watts"] > idle["mean_watts"]
    assert trained["arithmetic_used_frac"] > 1.2 * idle["arithmetic_used_frac"]


def test_examples_fill_microbatches_as_far_as_whole_ones_do() -> None:
    place = scenario().places[0]
    spec = TuneJobSpec(num_microbatches=50, lengths="azure-conv", microbatch_tokens=4096, valid_microbatches=3)
    true = spec.draw(0, place, np.random.default_rng(0))
    tokens = [batch.tokens for batch in true.job.microbatches]
    assert len(tokens) == 53
    assert 0 < min(tokens) <= max(tokens) <= 4096
    assert 100 < true.example_tokens < 4096
    assert [batch.trains for batch in true.job.microbatches] == [True] * 50 + [False] * 3
    assert [n for n, batch in enumerate(true.job.microbatches) if batch.updates] == [7, 15, 23, 31, 39, 47, 49]
    assert true.job.num_layers == 32


def test_memory_of_a_microbatch_follows_from_the_model() -> None:
    place = scenario().places[0]
    small, large = (
        TuneJobSpec(microbatch_tokens=tokens).draw(0, place, np.random.default_rng(0)).job for tokens in (512, 1024)
    )
    assert small.kv_blocks == pytest.approx(1088, rel=0.01)
    assert large.kv_blocks == 2 * small.kv_blocks
    told = TuneJobSpec(kv_blocks=7).draw(3, place, np.random.default_rng(0)).job
    assert (told.kv_blocks, told.id) == (7, "tune-3")


def test_hardware_of_its_own_trains_at_full_speed_and_serves_nothing() -> None:
    made = scenario(fleet=[{"instances": 2}], tune=[{}])
    outcome = made.play(catalogue.build("tuning/dedicated"))
    numbers, spans = outcome.report.numbers, outcome.spans
    assert numbers["num_finished"] == 60
    assert set(spans["resource"]) == {"main-0", "main-1 tuning"}
    assert numbers["tune_unit_s"] == pytest.approx(outcome.report.duration_s, rel=0.05)
    assert 5000 < numbers["tune_tokens_per_s"] < 6000


@pytest.mark.parametrize("id", ["tuning/static-split", "tuning/unmanaged", "tuning/co-serve", "tuning/reactive"])
def test_whoever_trains_beside_serving_ends_all_requests(id: str) -> None:
    numbers = scenario().play(catalogue.build(id)).report.numbers
    assert numbers["num_finished"] == 60
    assert numbers["tune_tokens"] == 40 * 512


def test_a_pipeline_is_served_and_not_trained() -> None:
    made = ServingScenario(
        trace=scenario().trace,
        model=scenario().model,
        fleet=(FleetSpec(pipeline_parallel=2),),
        tune=(TuneJobSpec(),),
        tuning=TuningSpec(),
    )
    numbers = made.play(catalogue.build("tuning/harli")).report.numbers
    assert numbers["num_finished"] == 60
    assert numbers["tune_tokens"] == 0


def test_senseless_tables_are_refused() -> None:
    with pytest.raises(ConfigError, match="microbatch_tokens must be >= 1, got 0"):
        TuneJobSpec(microbatch_tokens=0)
    with pytest.raises(ConfigError, match="arrival_s must be >= 0"):
        TuneJobSpec(arrival_s=-1.0)
    with pytest.raises(ConfigError, match="jobs must differ in name"):
        scenario(tune=[{"name": "a"}, {"name": "a"}]).play(catalogue.build("tuning/harli"))
