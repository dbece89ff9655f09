from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headway.app.cli.root import app
from headway.app.studies.replaying import first_difference

RECIPE = """
policy = { id = "serving/sarathi", token_budget = 256 }
[trace]
lengths = { kind = "lognormal", prompt_median = 300, prompt_sigma = 0.8, output_median = 30, output_sigma = 0.8 }
arrivals = { kind = "poisson", rate_per_s = 6.0 }
num_requests = 60
[model]
name = "llama-3-8b"
[[fleet]]
accelerator = "a100-80gb-sxm"
[[slo]]
name = "default"
ttft_s = 0.5
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE)
    return file


@pytest.fixture
def recording(recipe: Path, tmp_path: Path) -> Path:
    file = tmp_path / "recording.jsonl"
    assert call("run", recipe, "--record", file, "--json").exit_code == 0
    return file


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def result(*words: object) -> Any:
    done = call("replay", *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_same_policy_decides_the_same(recording: Path, recipe: Path) -> None:
    found = result(recording, "--recipe", recipe)
    assert set(found) == {"trace", "recorded", "replayed", "is_same_policy", "first_difference"}
    assert set(found["recorded"]) == {"policy", "seed", "percentiles_s"}
    assert (found["is_same_policy"], found["first_difference"]) == (True, None)
    then, now = found["recorded"]["percentiles_s"], found["replayed"]["percentiles_s"]
    assert set(then) == {"queue_s", "ttft_s", "tpot_s", "e2e_s"}
    for metric, told in then.items():
        assert told == pytest.approx(now[metric], abs=1e-9)
    assert "Every decision is the same." in call("replay", recording, "--recipe", recipe).stdout


def test_who_decided_then_decides_again_with_the_parameters_of_then(recipe: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.jsonl"
    assert call("run", recipe, "--set", "token_budget=300", "--record", file, "--json").exit_code == 0
    found = result(file, "--recipe", recipe)
    assert found["replayed"]["params"] == {"token_budget": 300}
    assert found["first_difference"] is None
    assert result(file, "--recipe", recipe, "--policy", "serving/sarathi")["first_difference"] is not None


def test_another_policy_sees_the_same_requests(recording: Path, recipe: Path) -> None:
    found = result(recording, "--recipe", recipe, "--policy", "serving/vllm")
    assert (found["is_same_policy"], found["first_difference"]) == (False, None)
    assert found["replayed"]["counts"]["requests"] == 60
    assert found["replayed"]["policy"] == "serving/vllm"
    assert found["replayed"]["percentiles_s"]["ttft_s"] != found["recorded"]["percentiles_s"]["ttft_s"]
    shown = call("replay", recording, "--recipe", recipe, "--policy", "serving/vllm").stdout
    assert "serving/sarathi then, serving/vllm now" in shown


def test_the_first_decision_that_differs_is_told(recording: Path, recipe: Path) -> None:
    found = result(recording, "--recipe", recipe, "--set", "token_budget=64")
    difference = found["first_difference"]
    assert difference["recorded"] != difference["replayed"]
    assert difference["recorded"]["type"] == difference["replayed"]["type"] == "Step"
    assert sum(piece["tokens"] for piece in difference["replayed"]["pieces"]) <= 64
    shown = call("replay", recording, "--recipe", recipe, "--set", "token_budget=64").stdout
    assert "is the first that differs" in shown


def test_without_a_recipe_the_recorded_steps_are_the_price_list(recording: Path) -> None:
    pytest.importorskip("scipy")
    header, _, rest = recording.read_text().partition("\n")
    facts = {"num_layers": 32, "num_blocks": 20_000, "block_size": 16, "max_seqs": 256, "model": "llama"}
    recording.write_text(json.dumps({**json.loads(header), "facts": facts}) + "\n" + rest)
    found = result(recording)
    then, now = found["recorded"]["percentiles_s"], found["replayed"]["percentiles_s"]
    for metric in ("tpot_s", "e2e_s"):
        assert now[metric]["p50"] == pytest.approx(then[metric]["p50"], rel=0.1)
    slower = result(recording, "--policy", "serving/orca")["replayed"]
    assert slower["policy"] == "serving/orca"


def test_names_do_not_matter_and_ends_do(recording: Path, tmp_path: Path) -> None:
    text = recording.read_text()
    other = tmp_path / "other.jsonl"
    renamed = text.replace('"main"', '"engine-7"')
    for key in ("id", "request", "what"):
        renamed = renamed.replace(f'"{key}":"', f'"{key}":"x-')
    other.write_text(renamed)
    assert first_difference(recording, other, "serving") is None
    lines = text.splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if '"type":"Step"' in line)
    other.write_text("".join(lines[:last]))
    difference = first_difference(recording, other, "serving")
    assert difference is not None
    assert difference.replayed is None
    assert json.loads(json.dumps(difference.recorded)) == json.loads(lines[last])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Or name the hardware with --recipe"),
        (["--recipe", "none.toml"], "must be a file that can be read"),
        (["--recipe", "RECIPE", "--policy", "serving/vlm"], "serving/vllm"),
        (["--recipe", "RECIPE", "--set", "token_budgt=1"], "token_budget"),
    ],
)
def test_what_is_wrong_is_one_sentence(recording: Path, recipe: Path, words: list[str], says: str) -> None:
    done = call("replay", recording, *[recipe if word == "RECIPE" else word for word in words])
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_is_no_recording_is_refused(recipe: Path) -> None:
    done = call("replay", recipe, "--recipe", recipe)
    assert done.exit_code == 2
    assert "the first line must be a trace header" in done.stderr
