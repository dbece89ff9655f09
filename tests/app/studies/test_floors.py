from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headway.app.studies.cheapest import rank
from headway.app.studies.floors import Demand, fewest_instances, loosest, why_too_slow
from headway.app.studies.goal import Goal
from headway.app.studies.job import job_of
from headway.app.studies.recipe import Recipe, recipe_of
from headway.app.studies.rigs import Rig, on_rig, place_on
from headway.app.studies.trial import try_out
from headway.traces.spec import TraceSpec

A100 = Rig(accelerator="a100-80gb-sxm")


def recipe(rate_per_s: float, prompt_tokens: int = 800, output_tokens: int = 60, **slo: float) -> Recipe:
    data: dict[str, Any] = {
        "policy": {"id": "serving/sarathi", "token_budget": 2048},
        "trace": {
            "lengths": {"kind": "fixed", "prompt_tokens": prompt_tokens, "output_tokens": output_tokens},
            "arrivals": {"kind": "poisson", "rate_per_s": rate_per_s},
            "num_requests": 150,
        },
        "model": {"name": "llama-3-8b"},
        "fleet": [{"accelerator": "a100-80gb-sxm"}],
        "slo": [{"name": "default", "ttft_s": 2.0, "tpot_s": 0.1, **slo}],
    }
    return recipe_of(data, Path("recipe.toml"))


def demand(setting: Recipe, attain_frac: float) -> Demand:
    table = msgspec.convert(setting.setting["trace"], TraceSpec).draw(0, 1.0)
    slo = setting.setting["slo"][0]
    return Demand(table, attain_frac, {"ttft_s": slo["ttft_s"], "tpot_s": slo["tpot_s"]})


@pytest.mark.parametrize("rate_per_s", [2.0, 20.0, 60.0])
@pytest.mark.parametrize(("prompt_tokens", "output_tokens"), [(2000, 2), (100, 300), (800, 60)])
def test_no_fewer_instances_carry_the_load(rate_per_s: float, prompt_tokens: int, output_tokens: int) -> None:
    setting = recipe(rate_per_s, prompt_tokens, output_tokens)
    for attain_frac in (0.5, 0.9):
        fewest = fewest_instances(place_on(setting, A100).replica, demand(setting, attain_frac))
        if fewest > 1:
            job = msgspec.structs.replace(job_of(setting, setting.policy), setting=on_rig(setting, A100, fewest - 1))
            assert not try_out(job, (0,), attain_frac).passed


def test_the_floor_is_worth_something() -> None:
    setting = recipe(60.0, 2000, 2)
    assert fewest_instances(place_on(setting, A100).replica, demand(setting, 0.9)) >= 3


@pytest.mark.parametrize("slo", [{"ttft_s": 0.02}, {"tpot_s": 0.005}])
def test_who_is_too_slow_alone_is_too_slow_among_others(slo: dict[str, float]) -> None:
    setting = recipe(0.5, **slo)
    why = why_too_slow(place_on(setting, A100).replica, demand(setting, 0.9))
    assert "alone" in why
    assert not try_out(job_of(setting, setting.policy), (0,), 0.9).passed
    assert not why_too_slow(place_on(recipe(0.5), A100).replica, demand(recipe(0.5), 0.9))


def test_only_bounds_that_all_classes_have_count() -> None:
    assert loosest({"a": {"ttft_s": 1.0, "tpot_s": 0.1}, "b": {"ttft_s": 3.0}}) == {"ttft_s": 3.0}
    assert loosest({}) == {}


def test_pruning_does_not_change_the_best() -> None:
    setting = recipe(30.0)
    allowed = {"accelerators": ("a100-80gb-sxm", "h100-sxm", "l40s"), "tensor_parallel": (1, 2)}
    narrow = rank(setting, Goal(goal="cost", within_frac=0.0, **allowed), num_workers=1)
    wide = rank(setting, Goal(goal="cost", within_frac=1e9, **allowed), num_workers=1)
    assert len(narrow.found) < len(wide.found)
    assert narrow.found[0].price == wide.found[0].price
    assert sum(len(found.attempts) for found in narrow.found + narrow.left_out) < sum(
        len(found.attempts) for found in wide.found + wide.left_out
    )


def test_what_belongs_to_one_kind_of_instance_stays_with_it() -> None:
    setting = recipe(1.0)
    fleet = {**setting.setting["fleet"][0], "kv_blocks": 999, "usd_per_h": 7.0, "block_size": 32}
    setting = setting.but(setting={**setting.setting, "fleet": [fleet]})
    assert on_rig(setting, A100, 3)["fleet"] == [
        {**fleet, "tensor_parallel": 1, "pipeline_parallel": 1, "instances": 3}
    ]
    (other,) = on_rig(setting, Rig(accelerator="h100-sxm", tensor_parallel=2), 1)["fleet"]
    assert other["block_size"] == 32
    assert "kv_blocks" not in other
    assert "usd_per_h" not in other


def test_rigs_are_named_in_short() -> None:
    assert Rig(accelerator="l4").label == "l4"
    assert Rig(accelerator="l4", tensor_parallel=2, pipeline_parallel=3).label == "l4 TP2 PP3"
    assert Rig(accelerator="l4", tensor_parallel=2, pipeline_parallel=3).num_accelerators == 6
