"""A recipe's setting, played from its start to its end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headway.core import catalogue
from headway.core.actions import Action
from headway.core.errors import ConfigError, HeadwayError
from headway.core.events import Event
from headway.core.parameters import decode
from headway.core.scenario import Outcome
from headway.policies.serving.seats import ServingView
from headway.sim.serving.price import BatchShape
from headway.sim.serving.recipe import FleetSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.spec import TraceSpec

SETTING: dict[str, Any] = {
    "trace": {"source": "azure-code", "max_requests": 150, "rate_per_s": 3.0},
    "model": {"name": "llama-3-8b"},
    "fleet": [{"accelerator": "h100-sxm"}],
    "slo": [{"ttft_s": 1.0, "tpot_s": 0.05, "quantile": 0.9}],
}


def scenario(**changes: Any) -> ServingScenario:
    return decode(ServingScenario, {**SETTING, **changes}, where="recipe")


def play(load: float = 1.0, seed: int = 0, policy: str = "serving/sarathi", **changes: Any) -> Outcome:
    return scenario(**changes).play(catalogue.build(policy), seed=seed, load=load)


def test_the_numbers_follow_from_the_works() -> None:
    outcome = play()
    numbers, works = outcome.report.numbers, outcome.works
    assert numbers["num_requests"] == numbers["num_finished"] == len(works["row"]) == 150
    assert sorted(works["row"].tolist()) == list(range(150))
    assert numbers["p90_ttft_s"] == pytest.approx(np.percentile(works["ttft_s"], 90))
    assert numbers["mean_e2e_s"] == pytest.approx(works["e2e_s"].mean())
    assert numbers["goodput_frac"] == works["good"].mean()
    assert np.array_equal(works["good"], ~(works["ttft_s"] > 1.0) & ~(works["tpot_s"] > 0.05))
    assert (works["queue_s"] <= works["ttft_s"]).all()
    assert (works["ttft_s"] <= works["e2e_s"]).all()
    assert 0 < numbers["busy_frac"] <= 1
    assert numbers["energy_j"] == pytest.approx(numbers["mean_watts"] * outcome.report.duration_s)
    assert 70 < numbers["mean_watts"] < 700
    assert numbers["cost_usd"] == pytest.approx(numbers["cost_usd_per_h"] * outcome.report.duration_s / 3600)
    (ttft, tpot) = outcome.report.slos
    assert (ttft.metric, ttft.met + ttft.missed) == ("ttft_s", 150)
    assert tpot.met_frac == pytest.approx((works["tpot_s"][np.isfinite(works["tpot_s"])] <= 0.05).mean())


def test_equal_seeds_are_equal_and_more_load_is_slower() -> None:
    first, again, busy = play(), play(), play(load=30.0)
    assert first.report.numbers == again.report.numbers
    assert busy.report.numbers["p90_ttft_s"] > first.report.numbers["p90_ttft_s"]
    assert busy.report.duration_s < first.report.duration_s


def test_samples_and_spans_show_what_happened() -> None:
    outcome = play(load=10.0)
    samples, spans = outcome.samples, outcome.spans
    assert set(samples["resource"]) == {"main"}
    assert (np.diff(samples["at_s"]) >= 0).all()
    assert ((samples["kv_used_frac"] >= 0) & (samples["kv_used_frac"] <= 1)).all()
    assert (spans["end_s"][:-1] <= spans["start_s"][1:] + 1e-9).all()  # one step at a time
    assert set(spans["name"]) == {"prompts", "decode"}


def test_what_a_recipe_leaves_out_is_said() -> None:
    made = decode(ServingScenario, {"trace": SETTING["trace"]}, where="recipe")
    assert made.notes[:2] == (
        "There is no [[fleet]]: one a100-80gb-sxm is assumed.", "There is no [model]: llama-3-8b is assumed.",
    )  # fmt: skip
    assert not any("assumed." in note and "There is no" in note for note in scenario().notes)


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    scenario().play(catalogue.build("serving/vllm"), on_progress=lambda done, num: told.append((done, num)))
    assert told[-1] == (150, 150)


def test_more_instances_and_stages_are_more_accelerators() -> None:
    fleet = [
        {"pool": "big", "instances": 2, "tensor_parallel": 2, "accelerator": "h100-sxm"},
        {"pool": "deep", "pipeline_parallel": 2, "accelerator": "a100-80gb-sxm"},
    ]
    made = scenario(fleet=fleet)
    assert [place.id for place in made.places] == ["big-0", "big-1", "deep-0"]
    numbers = made.play(catalogue.build("serving/sarathi"), load=20.0).report.numbers
    assert numbers["num_accelerators"] == 6
    assert numbers["num_finished"] == 150


def test_outages_are_part_of_a_run() -> None:
    calm = play(load=5.0)
    rough = play(load=5.0, outages={"mtbf_s": 5.0, "repair_s": 2.0, "startup_s": 1.0})
    assert rough.report.numbers["num_finished"] == 150
    assert rough.report.numbers["num_preemptions"] > calm.report.numbers["num_preemptions"]
    assert rough.report.numbers["p90_e2e_s"] > calm.report.numbers["p90_e2e_s"]


def test_pools_whose_blocks_differ_cannot_tell_which_prompts_begin_alike() -> None:
    fleet = [{"pool": "a", "accelerator": "h100-sxm"}, {"pool": "b", "accelerator": "h100-sxm", "block_size": 32}]
    with pytest.raises(ConfigError, match=r"block_size must be the same in all pools .* got 16 and 32"):
        play(trace={"source": "mooncake-conv", "max_requests": 9}, model={"name": "llama-3.1-8b"}, fleet=fleet)
    assert play(fleet=fleet).report.numbers["num_finished"] == 150  # where nobody knows, it does not matter


def test_prefixes_are_found() -> None:
    shared = {"source": "mooncake-conv", "max_requests": 200, "rate_per_s": 2.0}
    with_cache = play(trace=shared, model={"name": "llama-3.1-8b"})
    without = play(trace=shared, model={"name": "llama-3.1-8b"}, fleet=[{"accelerator": "h100-sxm", "caching": False}])
    assert with_cache.report.numbers["prefix_hit_frac"] > 0.1
    assert without.report.numbers["prefix_hit_frac"] == 0
    assert with_cache.report.numbers["mean_ttft_s"] < without.report.numbers["mean_ttft_s"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"name": "lama-3-8b"}}, "llama-3-8b"),
        ({"fleet": [{"accelerator": "h100x"}]}, "h100"),
        ({"fleet": [{"accelerator": "l4"}], "model": {"name": "llama-3-70b"}}, "does not fit|must fit|needs"),
        ({"fleet": [{"tensor_parallel": 3}]}, "tensor_parallel must divide"),
        ({"fleet": []}, "at least one pool"),
        ({"fleet": [{"instances": 0}]}, "instances must be >= 1, got 0"),
        ({"fleet": [{}, {}]}, "different names"),
        ({"fleet": [{"acelerator": "l4"}]}, "acelerator"),
        ({"slo": [{"ttft_s": -1}]}, "bound must be > 0"),
        ({"outages": {"mtbf_s": 0}}, "mtbf_s must be > 0"),
        ({"model": {"name": "llama-2-7b"}}, "must fit into the 4096 tokens of context of llama-2-7b"),
        ({"trace": {"source": "nowhere.csv"}}, "nowhere.csv"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(HeadwayError, match=words) as caught:
        play(**changes)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ConfigError | HeadwayError)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"slo": [{"name": "chat", "ttft_s": 1.0}]}, r"must be one of the trace's \(default\), got chat"),
        ({"slo": [{"ttft_s": 1.0}, {"tpot_s": 1.0}]}, "classes must differ in name, got 'default' twice"),
        ({"fleet": [{"instances": 10**11}]}, "instances must be <= 100000"),
        ({"fleet": [{"usd_per_h": -1.0}]}, "usd_per_h must be >= 0, got -1"),
        ({"model": {"context_tokens": -1}}, "context_tokens must be >= 0"),
    ],
)
def test_what_would_make_numbers_without_sense_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        play(**changes)


class Idle:
    """Serves nobody."""

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def decide(self, event: Event, view: ServingView) -> list[Action]:
        """Do nothing."""
        return []


def test_requests_that_are_left_lying_have_missed_their_promises() -> None:
    report = scenario().play(Idle()).report
    assert (report.numbers["num_finished"], report.numbers["num_unfinished"]) == (0, 150)
    assert report.numbers["goodput_frac"] == 0
    assert [(row.met, row.missed) for row in report.slos] == [(0, 150), (0, 150)]


def test_a_price_that_is_assumed_is_said() -> None:
    assert "h100-sxm: 3 USD/h is an assumption" in scenario(fleet=[{"accelerator": "h100-sxm"}]).notes[0]
    assert scenario(fleet=[{"accelerator": "h100-sxm", "usd_per_h": 2.5}]).notes == ()


def test_promises_to_the_classes_of_a_recipe_are_kept_apart() -> None:
    trace = {**SETTING["trace"], "slo_classes": {"chat": 0.5, "batch": 0.5}}
    rows = play(trace=trace, slo=[{"name": "chat", "ttft_s": 1.0}]).report.slos
    assert 0 < rows[0].met + rows[0].missed < 150


def test_a_slower_engine_adds_to_each_step() -> None:
    quick, slow = (
        ServingScenario(
            trace=TraceSpec(lengths="arxiv-summarization", num_requests=1, rate_per_s=1.0),
            fleet=(FleetSpec(extra_step_s=extra),),
        )
        for extra in (0.0, 0.01)
    )
    step_s = [one.places[0].replica.price.step_s(BatchShape(1, 10)) for one in (quick, slow)]
    assert step_s[1] - step_s[0] == pytest.approx(0.01)
    with pytest.raises(ConfigError, match="extra_step_s must be >= 0"):
        FleetSpec(extra_step_s=-1.0)


def test_a_pool_of_keys_and_values_saves_computing() -> None:
    shared = {"source": "mooncake-conv", "max_requests": 200, "rate_per_s": 4.0}
    fleet = [{"accelerator": "h100-sxm", "instances": 4}]

    def numbers(**changes: Any) -> dict[str, float]:
        return play(trace=shared, model={"name": "llama-3.1-8b"}, fleet=fleet, **changes).report.numbers

    alone, together, slow = (
        numbers(),
        numbers(kv_pool={"gib": 500.0}),
        numbers(kv_pool={"gib": 500.0, "latency_s": 1.0}),
    )
    assert "kv_pool_hit_frac" not in alone
    assert together["kv_pool_hit_frac"] > 0.02
    assert together["prefix_hit_frac"] > alone["prefix_hit_frac"] + 0.02
    assert together["mean_ttft_s"] < alone["mean_ttft_s"] < slow["mean_ttft_s"]
    assert numbers(kv_pool={"gib": 1.0})["kv_pool_hit_frac"] < together["kv_pool_hit_frac"]
