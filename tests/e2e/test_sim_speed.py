"""The benchmark of the simulator's speed runs, counts rightly and says what is missing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs a source checkout")


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "sim_speed.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def found(*options: str) -> dict[str, Any]:
    done = bench(*options, "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_the_four_figures_and_the_bars_of_a_short_run() -> None:
    report = found("--requests", "40", "--runs", "1")
    ours = report["cases"]["one"]["headway"]
    assert ours["num_requests"] == 40
    assert math.isclose(report["requests_per_s"], 40 / ours["simulate_s"])
    assert math.isclose(report["output_tokens_per_s"], ours["num_output_tokens"] / ours["simulate_s"])
    assert report["wall_s"] > ours["simulate_s"]  # the whole process, imports too
    assert 10 < report["peak_rss_mb"] < 1000
    assert {bar["figure"] for bar in report["bars"]} == {"requests_per_s", "output_tokens_per_s", "peak_rss_mb"}
    for bar in report["bars"]:
        sign, _, target = bar["target"].partition(" ")
        assert bar["measured"] == report[bar["figure"]]
        assert bar["met"] == (bar["measured"] >= float(target) if sign == ">=" else bar["measured"] <= float(target))


def test_hashes_change_neither_requests_nor_results_and_shared_ones_are_found() -> None:
    report = found("--requests", "40", "--runs", "1", "--hashed", "--fleet")
    one, hashed, fleet = (report["cases"][name]["headway"] for name in ("one", "hashed", "fleet"))
    assert one["num_output_tokens"] == hashed["num_output_tokens"] == fleet["num_output_tokens"]
    assert hashed["simulated"][0] == pytest.approx(one["simulated"][0], rel=1e-3)  # the file's times are rounded
    assert hashed["simulated"][0]["prefix_hit_frac"] == 0
    assert fleet["simulated"][0]["prefix_hit_frac"] > 0
    assert fleet["simulated"][0]["finished_per_s"] > one["simulated"][0]["finished_per_s"]


@pytest.mark.slow
def test_every_part_runs() -> None:
    report = found("--requests", "64", "--runs", "2", "--sweep", "--steps", "--plain", "--flat", "20,40")
    assert set(report["cases"]) == {"one", "sweep", "steps", "flat-20", "flat-40"}
    sweep, steps = report["cases"]["sweep"]["headway"], report["cases"]["steps"]["headway"]
    assert sweep["num_requests"] == 640
    loads = [facts["offered_per_s"] for facts in sweep["simulated"]]
    assert [rate / loads[0] for rate in loads] == pytest.approx([1 + n / 2 for n in range(10)])
    assert steps["num_steps"] > 4000  # 64 requests of 4,000 tokens, one step for each token of all
    plain = report["cases"]["one"]["headway-plain"]
    assert not plain["compiled"]
    assert plain["simulated"] == report["cases"]["one"]["headway"]["simulated"]
    assert not any("same result" in note for note in report["notes"])


def test_missing_peers_are_noted_and_skipped() -> None:
    report = found(
        "--requests", "5", "--runs", "1", "--peer", "--python", "dynamo=/nowhere", "--python", "simpy=/nowhere"
    )
    assert list(report["cases"]["one"]) == ["headway"]
    assert [note.partition(" ")[0] for note in report["notes"] if "skipped" in note] == ["dynamo", "simpy"]
    assert all("pip install" in note for note in report["notes"] if "skipped" in note)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--requests", "0"], "must be >= 1, got 0"),
        (["--runs", "0"], "must be >= 1"),
        (["--flat", "10,x"], "numbers of requests >= 1, got '10,x'"),
        (["--python", "nobody=python"], "NAME=PATH"),
        (["--trace", "nowhere.csv", "--requests", "5", "--runs", "1"], "nowhere.csv"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options: list[str], says: str) -> None:
    done = bench(*options)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
