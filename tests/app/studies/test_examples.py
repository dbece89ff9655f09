from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headway.app.cli.root import app
from headway.app.studies.goal import goal_of
from headway.app.studies.recipe import read_recipe

FOLDER = Path(__file__).parents[3] / "examples" / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"))

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs a source checkout")


def call(*words: object) -> str:
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_every_recipe_runs(recipe: Path) -> None:
    found = json.loads(call("run", recipe, "--requests", 100))
    assert found["counts"]["finished"] == 100
    assert read_recipe(recipe).about


@pytest.mark.parametrize("recipe", [r for r in RECIPES if "[plan]" in r.read_text()], ids=lambda recipe: recipe.stem)
def test_every_plan_finds_an_answer(recipe: Path) -> None:
    words = ("plan", recipe, "--requests", 150, "--seeds", 1, "--workers", 1)
    if goal_of(read_recipe(recipe)).goal == "cost":
        found = json.loads(call(*words, "--set", "plan.tensor_parallel=[2]"))
        assert found["ranking"]
    else:
        found = json.loads(call(*words, "--set", "plan.tolerance_frac=0.5"))
        assert all(answer["load"] for answer in found["policies"])


def test_the_baselines_differ_as_they_should() -> None:
    found = json.loads(call("compare", FOLDER / "baselines.toml", "--requests", 400, "--loads", "1.5", "--workers", 1))
    by_name = {cell["policy"]: cell for cell in found["cells"]}
    itl = {name: cell["metrics"]["p99_itl_s"]["mean"] for name, cell in by_name.items()}
    assert itl["sarathi-512"] < itl["serving/vllm"] / 3  # chunks do not stall decodes
    assert by_name["sarathi-512"]["differences"]["p99_itl_s"]["verdict"] == 1


def test_the_others_do_not_wait_for_the_crowd() -> None:
    words = ("--requests", 500, "--loads", "1", "--seeds", 2, "--workers", 1)
    found = json.loads(call("compare", FOLDER / "fair-tenants.toml", *words))
    first_come, fair = (cell["metrics"] for cell in found["cells"])
    assert first_come["promised_good_frac"]["mean"] < 0.3
    assert fair["promised_good_frac"]["mean"] > 0.8
    assert fair["output_tokens_per_s"]["mean"] == pytest.approx(first_come["output_tokens_per_s"]["mean"], rel=0.05)
