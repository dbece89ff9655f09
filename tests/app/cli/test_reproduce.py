from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headway.app.cli.root import app
from headway.core import catalogue

QUICK = ("reproduce", "serving/sarathi", "--claims", "chunking-overhead,stalls", "--seeds", "2", "--workers", "1")


def run(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def result(*words: str) -> Any:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refusal(*words: str) -> str:
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_json_has_the_headline_and_every_claim() -> None:
    told = result(*QUICK)
    stable = {"id", "claim", "measured", "baselines", "agrees_direction", "agrees_magnitude", "level", "notes"}
    assert stable <= set(told)
    assert (told["id"], told["level"], told["seeds"]) == ("serving/sarathi", "reproduced", [0, 1])
    assert [claim["claim_id"] for claim in told["claims"]] == ["chunking-overhead", "stalls"]
    assert told["claim"] == told["claims"][0]["claim"]
    assert told["agrees_direction"] is True
    numbers = told["claims"][1]["baselines"]["vllm"]["measured"]["max_itl_s"]
    assert numbers["low"] <= numbers["mean"] <= numbers["high"]


def test_people_read_claim_hardware_and_verdict() -> None:
    text = " ".join(run(*QUICK).stdout.split())
    for words in ("Yi-34B on 2 A100-80GB", "about 25% longer", "(25.0 %)", "max ITL: hybrid-only < vllm", "2 seeds"):
        assert words in text


def test_one_seed_has_no_intervals() -> None:
    text = run("reproduce", "serving/sarathi", "--claims", "chunking-overhead", "--seeds", "1").stdout
    assert "no intervals" in text
    assert "[" not in text


def test_a_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = run(*QUICK, "--html", str(page))
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    for words in ("<h2>stalls</h2>", "28.3", "headway reproduce serving/sarathi --claims"):
        assert words in text


def test_without_an_id_everything_is_listed() -> None:
    told = {row["id"]: row for row in result("reproduce")}
    assert list(told) == [row.id for row in catalogue.rows()]
    assert len(told["serving/sarathi"]["claims"]) >= 10
    assert told["serving/orca"]["claims"] == []
    assert "serving/sarathi" in run("reproduce").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("serving/sarathy",), "Nearest: serving/sarathi"),
        (("serving/orca",), "must have claims written down"),
        (("serving/sarathi", "--claims", "stall"), "Nearest: stalls"),
        (("serving/sarathi", "--seeds", "0"), "must be one or more"),
        (("serving/sarathi", "--seeds", "x"), "--seeds"),
        (("serving/sarathi", "--html", "no/such/folder/page.html"), "no/such/folder"),
    ],
)
def test_bad_input_is_one_sentence(words: tuple[str, ...], told: str) -> None:
    assert told in refusal("reproduce", *words)
