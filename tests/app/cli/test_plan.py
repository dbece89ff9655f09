from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.studies.conftest import shop, shop_folder  # noqa: F401  (fixtures)
from headway.app.cli.root import app

LOAD = """
family = "counter"
policies = ["counter/even", { id = "counter/even", run_s = 0.25, name = "quick" }]
seeds = 2
[trace]
max_requests = 400
[[slo]]
name = "default"
e2e_s = 2.0
[plan]
goal = "load"
tolerance_frac = 0.05
"""
COST = """
policy = { id = "serving/sarathi", token_budget = 512 }
seeds = 1
[trace]
lengths = { kind = "fixed", prompt_tokens = 500, output_tokens = 50 }
arrivals = { kind = "poisson", rate_per_s = 30.0 }
num_requests = 150
[model]
name = "llama-3-8b"
[[fleet]]
accelerator = "a100-80gb-sxm"
[[slo]]
name = "default"
ttft_s = 1.0
tpot_s = 0.05
[plan]
goal = "cost"
accelerators = ["a100-80gb-sxm", "l4", "h100-sxm"]
tensor_parallel = [1, 3]
within_frac = 10.0
max_instances = 8
"""
ANSWER = {"policy", "params", "name", "load", "requests_per_s", "good_frac", "fails_at_load", "numbers", "log"}
OPTION = {
    "accelerator", "tensor_parallel", "pipeline_parallel", "instances", "num_accelerators", "usd_per_h", "policy",
    "params", "name", "good_frac", "requests_per_s", "numbers", "why", "notes", "log",
}  # fmt: skip
HEAD = {"recipe", "about", "family", "goal", "attain_frac", "seeds", "versions", "wall_s"}
TRIED = {"passed", "good_frac", "whole", "num_runs", "wall_s"}


@pytest.fixture
def load_recipe(tmp_path: Path, shop: None) -> Path:  # noqa: F811
    file = tmp_path / "load.toml"
    file.write_text(LOAD)
    return file


@pytest.fixture
def cost_recipe(tmp_path: Path) -> Path:
    file = tmp_path / "cost.toml"
    file.write_text(COST)
    return file


def plan(*words: object) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, words)])


def result(*words: object) -> Any:
    done = plan(*words, "--workers", 1, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_largest_load_is_one_that_passes_beside_one_that_fails(load_recipe: Path) -> None:
    found = result(load_recipe)
    assert set(found) == HEAD | {"tolerance_frac", "max_load", "policies"}
    even, quick = found["policies"]
    assert set(even) == ANSWER
    assert all(set(point) == TRIED | {"load"} for point in even["log"])
    assert quick["load"] > 1.5 * even["load"]  # it takes half of the time for each
    for answer in (even, quick):
        assert answer["good_frac"] >= 0.9
        assert 1 < answer["fails_at_load"] / answer["load"] <= 1.05
        by_load = {point["load"]: point for point in answer["log"]}
        assert by_load[answer["load"]]["passed"]
        assert not by_load[answer["fails_at_load"]]["passed"]
        assert answer["requests_per_s"] == pytest.approx(answer["load"], rel=0.1)


def test_what_is_found_is_what_a_run_shows(load_recipe: Path) -> None:
    answer = result(load_recipe, "--policy", "quick", "--seeds", "1")["policies"][0]
    words = ["run", str(load_recipe), "--policy", "quick", "--load", str(answer["load"]), "--json"]
    shown = json.loads(CliRunner().invoke(app, words).stdout)
    assert shown["goodput"]["frac"] == pytest.approx(answer["good_frac"])


def test_processes_find_the_same(load_recipe: Path) -> None:
    alone = result(load_recipe)["policies"]
    many = json.loads(plan(load_recipe, "--workers", 2, "--json").stdout)["policies"]
    assert [answer["load"] for answer in many] == [answer["load"] for answer in alone]


def test_people_see_the_search(load_recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shown = plan(load_recipe, "--html", tmp_path / "r.html").stdout
    for words in ("Largest load", "what was tried: quick", "carried", "too much", "2 seeds"):
        assert words in shown
    assert "90% must be good" in (tmp_path / "r.html").read_text()


def test_the_cheapest_carries_the_load_and_one_instance_less_does_not(cost_recipe: Path) -> None:
    found = result(cost_recipe)
    assert set(found) == HEAD | {"load", "rank", "best", "ranking", "left_out"}
    assert all(set(option) == OPTION for option in found["ranking"] + found["left_out"])
    assert found["best"] == found["ranking"][0]
    prices = [option["usd_per_h"] for option in found["ranking"]]
    assert prices == sorted(prices)
    assert {option["accelerator"] for option in found["ranking"]} >= {"a100-80gb-sxm", "h100-sxm"}
    for option in found["ranking"]:
        tried = {attempt["instances"]: attempt["passed"] for attempt in option["log"]}
        assert tried[option["instances"]]
        assert option["instances"] == 1 or not tried.get(option["instances"] - 1, False)
        assert option["good_frac"] >= 0.9


def test_what_is_left_out_says_why(cost_recipe: Path) -> None:
    reasons = {
        (option["accelerator"], option["tensor_parallel"]): option["why"] for option in result(cost_recipe)["left_out"]
    }
    assert "divide the 32 heads" in reasons["h100-sxm", 3]
    assert "alone gets a token every" in reasons["l4", 1]
    close = result(cost_recipe, "--set", "plan.within_frac=0")
    assert any("too dear" in option["why"] or "cannot carry" in option["why"] for option in close["left_out"])
    assert close["best"]["usd_per_h"] == result(cost_recipe)["best"]["usd_per_h"]


def test_a_larger_load_costs_more(cost_recipe: Path) -> None:
    words = [cost_recipe, "--set", 'plan.accelerators=["a100-80gb-sxm"]', "--set", "plan.tensor_parallel=[1]"]
    one, three = (result(*words, "--load", load)["best"] for load in (1, 3))
    assert one["instances"] < three["instances"]


def test_people_see_the_ranking(cost_recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shown = plan(cost_recipe, "--workers", 1, "--html", tmp_path / "r.html").stdout
    for words in ("What carries load 1", "USD/h", "left out", "heads"):
        assert words in shown
    assert "Left out" in (tmp_path / "r.html").read_text()
    nothing = plan(cost_recipe, "--workers", 1, "--set", "slo.tpot_s=0.0001").stdout
    assert "Nothing that is allowed carries it." in nothing


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "plan.gaol=cost"], "Nearest: goal"),
        (["--set", "plan.goal=speed"], "goal"),
        (["--set", "plan.attain_frac=2"], "attain_frac must be in (0, 1]"),
        (["--set", "plan.tolerance_frac=0"], "tolerance_frac must be > 0"),
        (["--set", "plan.tolerance_frac=1e-300"], "tolerance_frac must be >= 0.0001"),
        (["--set", "plan.max_instances=0"], "max_instances must be >= 1"),
        (["--set", 'plan.accelerators=["h10"]'], "h100"),
        (["--set", "model.name=lama"], "llama"),
        (["--set", "slo=[]"], "an objective must be set"),
    ],
)
def test_what_is_wrong_is_one_sentence(cost_recipe: Path, words: list[str], says: str) -> None:
    done = plan(cost_recipe, *words, "--workers", 1)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_only_one_fleet_can_grow(cost_recipe: Path) -> None:
    cost_recipe.write_text(COST + '[[fleet]]\npool = "other"\n')
    assert "exactly one [[fleet]]" in plan(cost_recipe).stderr
