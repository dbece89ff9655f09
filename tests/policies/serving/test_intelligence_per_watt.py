"""Routing to the smallest model that answers, and the metrics of intelligence per watt."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.core.parameters import decode
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.intelligence_metrics import (
    accuracy_per_joule,
    accuracy_per_watt,
    perplexity_per_joule,
    perplexity_per_watt,
)
from headway.policies.serving.intelligence_per_watt import IntelligencePerWatt, answers
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.scenario import ServingScenario

NUM = 4000
LOCAL = {"small": 0.5, "middle": 0.8}


def board(*pools: str) -> ServingBoard:
    return ServingBoard([InstanceState(f"{p}-0", BlockPool(64), num_layers=2, pool=p) for p in pools])


def request(name: str) -> RequestState:
    return RequestState(Request(id=name, arrival_s=0.0, prompt_tokens=16, max_tokens=16))


def shares(route: IntelligencePerWatt, view: ServingBoard) -> dict[str, float]:
    route.reset(np.random.default_rng(3))
    sent = Counter(route.pick(request(str(n)), view) for n in range(NUM))
    return {name: count / NUM for name, count in sent.items()}


@pytest.mark.parametrize("accuracy_frac", [0.0, 0.6, 1.0])
def test_as_many_stay_local_as_the_router_knows_of_those_that_are_answered_there(accuracy_frac: float) -> None:
    found = shares(IntelligencePerWatt(local=LOCAL, accuracy_frac=accuracy_frac), board("small", "middle", "cloud"))
    assert found.get("small-0", 0.0) == pytest.approx(0.5 * accuracy_frac, abs=0.03)
    assert found.get("middle-0", 0.0) == pytest.approx(0.3 * accuracy_frac, abs=0.03)
    assert found["cloud-0"] == pytest.approx(1 - 0.8 * accuracy_frac, abs=0.03)


def test_an_oracle_sends_to_nobody_who_is_wrong() -> None:
    view, route = board("small", "middle", "cloud"), IntelligencePerWatt(local=LOCAL, accuracy_frac=1.0)
    for n in range(200):
        pool = view.instances[route.pick(request(str(n)), view)].pool
        assert pool == "cloud" or answers(str(n), LOCAL[pool])
        assert pool == "small" or not answers(str(n), LOCAL["small"])


def test_what_is_away_is_passed_over() -> None:
    assert set(shares(IntelligencePerWatt(local=LOCAL, accuracy_frac=1.0), board("middle", "cloud"))) == {
        "middle-0",
        "cloud-0",
    }
    assert shares(IntelligencePerWatt(local=LOCAL), board("other")) == {"other-0": 1.0}


def test_pools_of_one_fleet_serve_different_models() -> None:
    table: dict[str, Any] = {
        "trace": {"lengths": {"kind": "fixed", "prompt_tokens": 200, "output_tokens": 50}, "num_requests": 40},
        "fleet": [
            {"pool": "small", "accelerator": "l4", "model": "qwen3-8b", "weights": "int4"},
            {"pool": "cloud", "accelerator": "h200-sxm", "model": "qwen3-14b"},
        ],
    }
    scenario = decode(ServingScenario, table, where="recipe")
    small, cloud = (place.replica for place in scenario.places)
    assert (small.num_layers, cloud.num_layers) == (36, 40)
    assert not any("There is no [model]" in note for note in scenario.notes)
    policy = catalogue.build("serving/intelligence-per-watt", {"local": {"small": 0.5}, "accuracy_frac": 1.0})
    assert scenario.play(policy).report.numbers["num_finished"] == 40


def test_metrics_are_ratios_of_means() -> None:
    right, watts, e2e_s = [1.0, 0.0, 1.0, 1.0], [10.0, 20.0, 30.0, 40.0], [1.0, 2.0, 3.0, 4.0]
    assert accuracy_per_watt(right, watts) == pytest.approx(0.75 / 25)
    assert accuracy_per_joule(right, watts, e2e_s) == pytest.approx(0.75 / 75)
    assert perplexity_per_watt([2.0, 4.0, 4.0, 6.0], watts) == pytest.approx(1 / (4 * 25))
    assert perplexity_per_joule([2.0, 4.0, 4.0, 6.0], watts, e2e_s) == pytest.approx(1 / (4 * 75))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="do not fall"):
        IntelligencePerWatt(local={"a": 0.8, "b": 0.5})
    with pytest.raises(ConfigError, match="accuracy_frac"):
        IntelligencePerWatt(accuracy_frac=1.5)
    with pytest.raises(ConfigError, match="one number of each kind per query"):
        accuracy_per_watt([1.0], [])
