from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.studies.conftest import shop, shop_folder  # noqa: F401  (fixtures)
from headway.app.cli.root import app

pytestmark = pytest.mark.usefixtures("shop")

COUNTER = """
about = "Who is quick?"
family = "counter"
policies = [
    "counter/even",
    { id = "counter/even", run_s = 0.4, noise_s = 0.05, name = "quick" },
    { id = "counter/even", run_s = 0.5, name = "same" },
]
loads = [0.5, 1.2]
seeds = 4
[[slo]]
name = "all"
e2e_s = 2.0
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.toml"
    file.write_text(COUNTER)
    return file


def compare(*words: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, words)])


def result(*words: object) -> Any:
    done = compare(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def cell(found: Any, policy: str, load: float) -> Any:
    (one,) = [c for c in found["cells"] if (c["policy"], c["load"]) == (policy, load)]
    return one


def test_the_keys_of_the_result_are_these(recipe: Path) -> None:
    found = result(recipe)
    assert set(found) == {
        "recipe", "about", "family", "policies", "baseline", "loads", "seeds", "cells", "versions", "wall_s",
    }  # fmt: skip
    assert (found["baseline"], found["loads"], found["seeds"]) == ("counter/even", [0.5, 1.2], [0, 1, 2, 3])
    assert [policy["name"] for policy in found["policies"]] == ["counter/even", "quick", "same"]
    assert len(found["cells"]) == 6
    one = cell(found, "quick", 1.2)
    assert set(one) == {"policy", "load", "metrics", "differences"}
    assert set(one["metrics"]["p99_e2e_s"]) == {"mean", "low", "high", "values"}
    assert set(one["differences"]["p99_e2e_s"]) == {"mean", "low", "high", "excludes_zero", "verdict"}
    assert cell(found, "counter/even", 0.5)["differences"] == {}


def test_policies_are_paired_by_seed(recipe: Path) -> None:
    found = result(recipe)
    base, same, quick = (cell(found, name, 1.2) for name in ("counter/even", "same", "quick"))
    assert same["metrics"]["mean_e2e_s"] == base["metrics"]["mean_e2e_s"]
    assert same["differences"]["mean_e2e_s"]["verdict"] == 0
    difference = quick["differences"]["mean_e2e_s"]
    assert difference["verdict"] == 1
    assert difference["high"] < 0
    # Paired, the difference is known far better than the means are.
    means = base["metrics"]["mean_e2e_s"]
    assert difference["high"] - difference["low"] < (means["high"] - means["low"]) / 2


def test_people_get_a_table_per_load(recipe: Path) -> None:
    shown = compare(recipe).stdout
    for words in ("Who is quick?", "load 0.5", "load 1.2", "quick", "±", "▲", "Mean over 4 seeds", "24 runs"):
        assert words in shown


def test_one_seed_has_no_interval_and_says_so(recipe: Path) -> None:
    shown = compare(recipe, "--seeds", 1).stdout
    assert "One seed: no intervals" in shown
    assert "±" not in shown
    metric = cell(result(recipe, "--seeds", "1"), "quick", 0.5)["metrics"]["p99_e2e_s"]
    assert metric["low"] is None
    assert metric["mean"] > 0


def test_seeds_that_change_nothing_are_told_of(tmp_path: Path) -> None:
    trace, recipe = tmp_path / "t.csv", tmp_path / "r.toml"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,9,9\n1,9,9\n")
    recipe.write_text('policy = "serving/vllm"\nseeds = 3\n[trace]\nsource = "t.csv"\n')
    assert "All seeds gave the same numbers" in compare(recipe).stdout


def test_flags_choose_policies_loads_seeds_and_metrics(recipe: Path) -> None:
    found = result(recipe, "--policies", "quick,counter/even", "--loads", "2", "--seeds", "3,5", "--set", "noise_s=0.1")
    assert (found["baseline"], found["loads"], found["seeds"]) == ("quick", [2.0], [3, 5])
    assert [policy["params"]["noise_s"] for policy in found["policies"]] == [0.1, 0.1]
    shown = compare(recipe, "--metrics", "p90_queue_s").stdout
    assert "p90 queue" in shown
    assert "p99" not in shown


def test_workers_change_nothing_but_who_plays(recipe: Path) -> None:
    def told(*words: object) -> Any:
        found = result(recipe, *words)
        for one in found["cells"]:
            pids = {int(pid) for pid in one["metrics"].pop("pid")["values"]}
            assert (os.getpid() in pids) == (words == ("--workers", 1))
            one["differences"].pop("pid", None)
        return found["cells"]

    assert told("--workers", 1) == told("--workers", 2)


def test_an_interrupted_comparison_goes_on(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    first = result(recipe, "--resume", folder, "--seeds", 2)
    lines = (folder / "finished.jsonl").read_text().splitlines()
    assert len(lines) == 12
    again = result(recipe, "--resume", folder)
    assert len((folder / "finished.jsonl").read_text().splitlines()) == 24
    old, new = (cell(found, "quick", 1.2)["metrics"]["mean_e2e_s"]["values"] for found in (first, again))
    assert new[:2] == old


def test_a_page_and_a_figure_are_written(recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = compare(recipe, "--html", tmp_path / "r.html", "--plot", tmp_path / "r.png")
    assert done.exit_code == 0
    page = (tmp_path / "r.html").read_text()
    for words in ("Policies compared", "difference from counter/even", "Times at load 1.2", "headway compare", "quick"):
        assert words in page
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    assert compare(recipe, "--loads", 1, "--plot", tmp_path / "one.svg").exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--policies", "counter/bad"], "counter/bad at load 0.5, seed 0: counter/bad: failed on purpose"),
        (["--policies", "counter/evn"], "counter/even"),
        (["--seeds", "many"], "--seeds: must be a count or a list"),
        (["--loads", "1,x"], "--loads"),
        (["--metrics", "p99_e2e"], "Nearest: p99_e2e_s"),
        (["--html", "no/such/folder.html"], "its folder must exist"),
        (["--ray-address", "127.0.0.1:1"], "a cluster must answer at '127.0.0.1:1'"),
    ],
)
def test_what_is_wrong_is_one_sentence(recipe: Path, words: list[str], says: str) -> None:
    done = compare(recipe, *words)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
