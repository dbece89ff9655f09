from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.studies.conftest import shop, shop_folder  # noqa: F401  (a fixture)
from headway.app.cli.root import app
from headway.core.trace import read_header

RECIPE = """
about = "A small serving world."
policy = { id = "serving/sarathi", token_budget = 256 }
policies = ["serving/vllm"]
[trace]
lengths = { kind = "lognormal", prompt_median = 300, prompt_sigma = 0.8, output_median = 30, output_sigma = 0.8 }
arrivals = { kind = "poisson", rate_per_s = 4.0 }
num_requests = 60
[model]
name = "llama-3-8b"
[[fleet]]
accelerator = "a100-80gb-sxm"
[[slo]]
name = "default"
ttft_s = 0.5
tpot_s = 0.05
"""
COUNTER = """
family = "counter"
policy = "counter/even"
[[slo]]
name = "all"
e2e_s = 2.0
"""
KEYS = {
    "policy", "params", "name", "recipe", "family", "seed", "load", "counts", "refused", "percentiles_s", "attainment",
    "goodput", "throughput", "utilisation", "energy", "cost", "decide_s", "duration_s", "wall_s", "numbers", "notes",
    "versions",
}  # fmt: skip
COUNTS = {"requests", "finished", "rejected", "preemptions", "events", "actions", "refused"}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE)
    return file


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["run", *map(str, words)])


def result(*words: object) -> Any:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refusal(*words: object) -> str:
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("headway: ")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_work_that_nobody_ever_takes_is_told(recipe: Path) -> None:
    nobody_is_up = ("--set", "fleet.instances=0", "--set", "fleet.max_instances=1", "--requests", 10)
    found = result(recipe, *nobody_is_up)
    assert found["counts"]["finished"] == 0
    assert [note for note in found["notes"] if note.startswith("10 never ended")]
    assert not [note for note in result(recipe)["notes"] if "never ended" in note]


def test_the_keys_of_the_result_are_these(recipe: Path) -> None:
    found = result(recipe)
    assert set(found) == KEYS
    assert set(found["counts"]) == COUNTS
    assert set(found["goodput"]) == {"frac", "per_s"}
    assert set(found["throughput"]) == {"requests_per_s", "output_tokens_per_s", "prompt_tokens_per_s"}
    assert set(found["utilisation"]) == {
        "busy_frac", "arithmetic_used_frac", "bandwidth_used_frac", "kv_used_frac", "prefix_hit_frac",
        "num_accelerators",
    }  # fmt: skip
    assert set(found["energy"]) == {"j", "j_per_output_token"}
    assert set(found["cost"]) == {"usd", "usd_per_mtok"}
    assert set(found["versions"]) == {"headway", "python", "numpy"}
    assert set(found["percentiles_s"]) == {"queue_s", "ttft_s", "tpot_s", "e2e_s", "itl_s"}
    assert all(set(p) == {"mean", "p50", "p90", "p95", "p99"} for p in found["percentiles_s"].values())
    assert set(found["attainment"]) == {"default"}
    assert set(found["attainment"]["default"]) == {"ttft_s", "tpot_s"}
    assert set(found["attainment"]["default"]["ttft_s"]) == {"met_frac", "bound", "quantile", "attained"}
    assert (found["counts"]["requests"], found["counts"]["finished"]) == (60, 60)
    assert (found["policy"], found["params"], found["seed"]) == ("serving/sarathi", {"token_budget": 256}, 0)
    assert all(value is not None for group in ("energy", "cost", "throughput") for value in found[group].values())


def test_flags_change_the_recipe(recipe: Path) -> None:
    found = result(
        recipe, "--policy", "serving/vllm", "--set", "fleet.instances=2", "--seed", 3, "--load", 2, "--requests", 20
    )
    assert (found["policy"], found["seed"], found["load"]) == ("serving/vllm", 3, 2.0)
    assert (found["counts"]["requests"], found["utilisation"]["num_accelerators"]) == (20, 2)
    assert result(recipe, "--set", "token_budget=128")["params"] == {"token_budget": 128}


def test_another_trace_is_played(recipe: Path, tmp_path: Path) -> None:
    trace = tmp_path / "mine.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{n},{n + 10},5\n" for n in range(7)))
    assert result(recipe, "--trace", trace)["counts"]["requests"] == 7
    assert result(recipe, "--trace", "azure-code", "--requests", 9)["counts"]["requests"] == 9


def test_equal_runs_come_out_equal(recipe: Path) -> None:
    once, again = result(recipe), result(recipe)
    for found in (once, again):
        del found["wall_s"], found["decide_s"]
    assert once == again
    assert result(recipe, "--seed", 1)["percentiles_s"] != once["percentiles_s"]


def test_people_get_tables(recipe: Path) -> None:
    shown = run(recipe).stdout
    for words in ("serving/sarathi, load 1, seed 0", "A small serving world.", "TTFT", "TTFT ≤ 500 ms", "virtual time"):
        assert words in shown


def test_files_are_written(recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = {"--html": "r.html", "--plot": "r.png", "--perfetto": "r.json.gz", "--record": "r.jsonl", "--out": "all"}
    words = [word for flag, name in names.items() for word in (flag, tmp_path / name)]
    found = result(recipe, *words)
    assert json.loads((tmp_path / "all" / "result.json").read_text()) == found
    with (tmp_path / "all" / "works.csv").open() as file:
        works = list(csv.DictReader(file))
    assert len(works) == 60
    assert float(works[0]["ttft_s"]) > 0
    page = (tmp_path / "r.html").read_text()
    assert "headway run" in page
    assert "token_budget = 256" in page
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    assert "traceEvents" in json.loads(gzip.decompress((tmp_path / "r.json.gz").read_bytes()))
    header = read_header(tmp_path / "r.jsonl")
    assert (header.family, header.policy, header.seed) == ("serving", "serving/sarathi", 0)
    assert (tmp_path / "r.jsonl").read_bytes().count(b'"RequestArrived"') == 60
    assert {file.name for file in tmp_path.iterdir()} == {*names.values(), "recipe.toml"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--policy", "serving/vlm"], "serving/vllm"),
        (["--set", "token_bugdet=1"], "Nearest: token_budget"),
        (["--set", "fleet.accelerator=h10"], "h100"),
        (["--set", "model.name=llama-4-8b"], "llama-3-8b"),
        (["--set", "model.name=llama-3.1-405b"], "must fit into"),
        (["--set", "token_budget=0"], "token_budget must be >= 1"),
        (["--trace", "azure-cod"], "azure-code"),
        (["--trace", "none/such.csv"], "there is no such file"),
        (["--load", "0"], "loads must be > 0"),
        (["--html", "no-such-folder/r.html"], "its folder must exist"),
        (["--record", "no-such-folder/r.jsonl"], "its folder must exist"),
        (["--html", "r.html", "--plot", "r.tiff"], "must end in .png"),
        (["--html", "r.html", "--perfetto", "r.trace"], "must end in .json"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    recipe: Path, words: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recipe.parent)
    assert says in refusal(recipe, *words)
    assert [file.name for file in recipe.parent.iterdir()] == ["recipe.toml"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("5,0,3", "prompt_tokens"),
        ("5,3,0", "output_tokens"),
        ("-1,3,3", "arrival_s"),
        ("5,3,x", "output_tokens"),
        ("0.5,3,3", "arrival_s"),
        ("5,90000,3", "context"),
    ],
)
def test_a_bad_trace_is_one_sentence_and_leaves_nothing(recipe: Path, tmp_path: Path, row: str, says: str) -> None:
    trace = tmp_path / "bad.csv"
    trace.write_text(f"arrival_s,prompt_tokens,output_tokens\n0,5,5\n1,5,5\n{row}\n")
    record, page = tmp_path / "record.jsonl", tmp_path / "page.html"
    assert says in refusal(recipe, "--trace", trace, "--record", record, "--html", page)
    assert {file.name for file in tmp_path.iterdir()} == {"recipe.toml", "bad.csv"}


def test_a_recipe_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    assert "must be a file that can be read" in refusal(tmp_path / "none.toml")


def test_without_a_drawing_library_the_pip_line_is_told(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "plotly"):
        monkeypatch.setitem(sys.modules, name, None)
    told = refusal(recipe, "--html", recipe.parent / "r.html")
    assert "pip install 'headway[plan]'" in told
    assert result(recipe)["counts"]["finished"] == 60  # nothing else needs it


@pytest.mark.usefixtures("shop")
def test_other_families_run_as_well(tmp_path: Path) -> None:
    file = tmp_path / "counter.toml"
    file.write_text(COUNTER)
    found = result(file)
    assert set(found) == KEYS
    assert found["attainment"]["all"]["e2e_s"]["bound"] == 2.0
    assert found["throughput"]["output_tokens_per_s"] is None
