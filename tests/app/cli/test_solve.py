"""`headway solve` as people use it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headway.app.cli.root import app
from headway.sim.shop.instances.shipped import shipped

pytest.importorskip("ortools")

RUNNER = CliRunner()
DATA = Path(__file__).parents[4] / "shared" / "data" / "sched"


def told(*words: str, status: int = 0) -> str:
    result = RUNNER.invoke(app, ["solve", *words])
    assert result.exit_code == status, result.output
    return str(result.output)


def as_json(*words: str, status: int = 0) -> dict[str, Any]:
    result = RUNNER.invoke(app, ["solve", *words, "--json"])
    assert result.exit_code == status, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_shipped_instance_is_solved_and_proven() -> None:
    said = told("ft06", "--planner", "cp-sat")
    assert "optimal: makespan 55, proven (shop/cp-sat" in said


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_instance_has_a_plan(name: str) -> None:
    found = as_json(name, "--planner", "cp-sat", "--time-limit", "1s")
    assert found["status"] in ("optimal", "feasible")
    assert len(found["tasks"]) == found["num_tasks"]


def test_a_plan_goes_to_files_and_on_from_them(tmp_path: Path) -> None:
    out, svg, html, plot = (tmp_path / name for name in ("plan.json", "plan.svg", "plan.html", "search.svg"))
    words = ("ft06", "--planner", "cp-sat", "--out", str(out))
    told(*words, "--gantt", str(svg), "--plot", str(plot))
    told("ft06", "--planner", "cp-sat", "--start", str(out), "--gantt", str(html))
    assert json.loads(out.read_bytes())["objective"] == 55
    assert "J5.2" in svg.read_text()
    assert "J5.2" in html.read_text()
    assert "bound" in plot.read_text()


def test_another_objective_and_blocking_make_another_problem() -> None:
    plain = as_json("ft06", "--planner", "cp-sat", "--objective", "total_flow_time")
    blocking = as_json("ft06", "--planner", "cp-sat", "--blocking", "--time-limit", "10s")
    assert plain["goal"] == "total_flow_time"
    assert blocking["objective"] > 55


def test_planners_and_shipped_instances_are_listed() -> None:
    assert "shop/cp-sat" in told("--list")
    assert set(json.loads(RUNNER.invoke(app, ["solve", "--json"]).stdout)["shipped"]) == set(shipped())


def with_deadline(tmp_path: Path) -> Path:
    """Write a job shop whose first job cannot be done in time."""
    problem = {
        "name": "late", "tasks": [{"modes": [{"duration": 9, "needs": [[0, 1]]}]}],
        "jobs": [{"deadline": 5}], "capacity": [1],
    }  # fmt: skip
    path = tmp_path / "late.json"
    path.write_text(json.dumps(problem))
    return path


def test_what_cannot_be_done_is_infeasible_and_says_why(tmp_path: Path) -> None:
    said = told(str(with_deadline(tmp_path)), "--planner", "cp-sat", status=1)
    assert "Infeasible: J0 cannot end before 9, and must by 5" in said


def test_large_numbers_are_printed_in_full_and_constructors_do_not_ask_for_time(tmp_path: Path) -> None:
    (tmp_path / "large.txt").write_text("1 1\n0 123456789\n")
    assert "makespan 123456789, proven" in told(str(tmp_path / "large.txt"))
    said = told(str(with_deadline(tmp_path)), "--planner", "giffler-thompson", status=1)
    assert "Nothing found:" in said
    assert "another --planner" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "solve: nothing must be a file or one of flexible, ft06"),
        (("./nothing.txt",), "nothing.txt: it must be a file that can be read"),
        (("ft06", "--time-limit", "0"), "--time-limit: must be a time above zero, got '0'"),
        (("ft06", "--planner", "cpsat"), "planner: 'cpsat' is not known"),
        (("ft06", "--objective", "profit"), "--objective must be one of makespan"),
        (("ft06", "--objective", "total_tardiness"), "must have due times"),
        (("ft06", "--planner", "cp-sat", "--set", "wrokers=2"), "wrokers"),
        (("ft06", "--gantt", "plan.xyz"), "must end in"),
        (("ft06", "--no-swap"), "--no-swap must come with --blocking"),
        (("project", "--blocking"), "--blocking must have jobs whose tasks follow each other, project is a project"),
    ],
)
def test_bad_input_is_one_sentence(words: tuple[str, ...], said: str) -> None:
    result = RUNNER.invoke(app, ["solve", *words])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1 + result.stderr.count(" tasks; ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2 2\n0 1 1 2\n", "line"),
        ("1 1\n7 3\n", "7"),
        ("1 1\n0 x\n", "line 2"),
        ("", "an empty file"),
        ("1 1\n0 -4\n", "-4"),
    ],
)
def test_unparsable_instances_name_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "shop.txt"
    path.write_text(text)
    result = RUNNER.invoke(app, ["solve", str(path)])
    assert result.exit_code == 2
    assert said in result.stderr


def test_precedence_in_a_circle_is_named(tmp_path: Path) -> None:
    tasks = [{"modes": [{"duration": 1}], "after": [1]}, {"modes": [{"duration": 1}], "after": [0]}]
    (tmp_path / "circle.json").write_text(json.dumps({"name": "circle", "tasks": tasks, "jobs": [{}], "capacity": [1]}))
    result = RUNNER.invoke(app, ["solve", str(tmp_path / "circle.json")])
    assert result.exit_code == 2
    assert "precedence must not run in a circle, got J0." in result.stderr


@pytest.mark.skipif(not DATA.is_dir(), reason="the data is not here")
@pytest.mark.parametrize(
    ("place", "cost"), [("jssp.jsonl.gz:la01", 666), ("fjsp.jsonl.gz", None), ("rcpsp.jsonl.gz", None)]
)
def test_public_instances_are_solved(place: str, cost: int | None) -> None:
    if ":" not in place:
        with gzip.open(DATA / place, "rt") as file:
            place += ":" + json.loads(file.readline())["name"]
    found = as_json(str(DATA / place), "--planner", "cp-sat", "--time-limit", "5s")
    assert found["status"] in ("optimal", "feasible")
    assert cost is None or found["objective"] == cost


def test_interrupted_it_prints_the_best_so_far() -> None:
    command = [sys.executable, "-m", "headway.app.cli", "solve", "ft10", "--planner", "cp-sat", "--json",
               "--set", "workers=1", "--time-limit", "10min"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as process:
        time.sleep(3)  # long enough to have a plan, not long enough to prove one
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    found = json.loads(out)
    assert found["status"] in ("feasible", "optimal")
    assert found["tasks"]
