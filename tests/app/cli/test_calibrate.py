from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.calibrate.test_recording import record
from headway.app.cli.calibrate import flags_of, save
from headway.app.cli.root import app
from headway.sim.serving.cost.fitted import Calibration, FittedPrice, fitted_replica, read_calibration

GIVEN = dict.fromkeys(
    ("model", "dtype", "device", "quantize", "context", "policy", "kv_memory", "block_size", "max_seqs")
)

MADE = Calibration(
    price=FittedPrice(knots=((1, 1.5e-3), (64, 0.01)), decode_s=1e-6, context_s=2e-9, chunk_s=3e-5, pair_s=4e-10),
    num_layers=6,
    num_kv_tokens=1000,
    model='a model\'s "name"',
    machine="2 x something",
    date="2026-01-01",
    versions={"headway": "0.1.0"},
    errors={"median_frac": 0.01},
    overheads={"first_token_s": 1e-3},
)


def test_a_calibration_comes_back_as_it_was(tmp_path: Path) -> None:
    save(MADE, tmp_path / "c.toml")
    assert read_calibration(tmp_path / "c.toml") == MADE
    assert fitted_replica(tmp_path / "c.toml").price == MADE.price
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


def test_flags_reach_the_server() -> None:
    given = {**GIVEN, "model": "m", "dtype": "float32", "max_seqs": 4, "policy_param": ["a=1"], "native": False}
    assert flags_of(given) == (
        "m", "--dtype", "float32", "--max-seqs", "4", "--policy-param", "a=1", "--no-native",
    )  # fmt: skip
    assert flags_of({**GIVEN, "policy_param": None, "native": None}) == ("headway-mini",)


def test_a_recording_is_fitted(tmp_path: Path) -> None:
    record(tmp_path / "run.jsonl", "serving/sarathi")
    target = tmp_path / "c.toml"
    done = CliRunner().invoke(
        app, ["calibrate", "--trace", str(tmp_path / "run.jsonl"), "--out", str(target), "--json"]
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["model"] == "made"
    assert said["errors"]["p90_frac"] < 0.06
    assert read_calibration(target).num_kv_tokens == 6400


def test_people_are_told_what_was_found(tmp_path: Path) -> None:
    record(tmp_path / "run.jsonl", "serving/sarathi")
    target = tmp_path / "c.toml"
    done = CliRunner().invoke(app, ["calibrate", "--trace", str(tmp_path / "run.jsonl"), "--out", str(target)])
    assert "steps fitted" in done.stdout
    assert f'[[fleet]] calibration = "{target}"' in done.stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "nowhere/c.toml"], "folder must exist"),
        (["--minutes", "0"], "--minutes must be > 0"),
        (["--trace", "missing.jsonl"], "must be a file that can be read"),
        (["no-such-folder/model", "--minutes", "0.01"], "the server must start, got: "),
    ],
)
def test_what_cannot_be_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["calibrate", *words])
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_shipped_model_is_calibrated(tmp_path: Path) -> None:
    target = tmp_path / "c.toml"
    words = ["--minutes", "0.1", "--threads", "1", "--kv-memory", "64MiB", "--max-seqs", "16"]
    done = CliRunner().invoke(app, ["calibrate", *words, "--out", str(target), "--json"])
    assert done.exit_code == 0, done.output
    found = read_calibration(target)
    assert (found.model, found.num_layers, found.max_seqs) == ("headway-mini", 6, 16)
    assert found.errors["num_steps"] > 30  # so many as a fit needs; a busy machine makes few
    assert found.errors["num_unclear"] == 0
    base_s, _ = found.price.decode_line(1)
    assert 1e-5 < base_s < 0.1
    assert set(found.overheads) == {"first_token_s", "last_token_s", "scatter_s"}
