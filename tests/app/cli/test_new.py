from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import headway
from headway.app.cli.root import app
from headway.app.cli.scaffold import SEATS

SOURCE = Path(headway.__file__).parent


def new(*words: str) -> Result:
    return CliRunner().invoke(app, ["new", *words])


def in_project(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(folder / "src"), str(SOURCE.parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the source tree."""
    leave_out = shutil.ignore_patterns("__pycache__", "shipped", "csrc")
    shutil.copytree(SOURCE, tmp_path / "src" / "headway", ignore=leave_out)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "headway"\n')
    return tmp_path


@pytest.mark.parametrize("family", SEATS)
def test_what_is_written_passes_its_checks_and_its_tests_at_once(checkout: Path, family: str) -> None:
    ids = []
    for seat in SEATS[family]:
        ids.append(f"{family}/my_{seat}")
        done = in_project(
            checkout, "-m", "headway.app.cli", "new", ids[-1], "--seat", seat, "--title", 'A "quoted" title'
        )
        assert done.returncode == 0, done.stderr
    checked = in_project(checkout, "-m", "headway.app.cli", "check", "--json", *ids)
    outcomes = json.loads(checked.stdout)
    assert checked.returncode == 0, [o for o in outcomes if o["status"] == "failed"]
    assert {o["id"] for o in outcomes} == set(ids)
    tested = in_project(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert tested.returncode == 0, tested.stdout
    config = SOURCE.parents[1] / "pyproject.toml"
    new_files = [str(path) for path in checkout.rglob("*my_*.py")]
    linted = in_project(checkout, "-m", "ruff", "check", "--no-cache", "--config", str(config), *new_files)
    assert len(new_files) == 2 * len(SEATS[family])
    assert linted.returncode == 0, linted.stdout


def test_three_parts_are_written_and_no_more(checkout: Path) -> None:
    before = {path for path in checkout.rglob("*") if path.is_file()}
    done = new("serving/mine", "--directory", str(checkout), "--arxiv", "1234.5678", "--year", "2020", "--json")
    code = checkout / "src/headway/policies/serving/mine.py"
    test = checkout / "tests/policies/serving/test_mine.py"
    rows = checkout / "src/headway/policies/serving/catalogue.toml"
    assert {path for path in checkout.rglob("*") if path.is_file()} - before == {code, test}
    assert json.loads(done.stdout)["written"] == [str(code), str(test), str(rows)]
    row = tomllib.loads(rows.read_text())["mechanism"][-1]
    assert (row["id"], row["class"]) == ("serving/mine", "headway.policies.serving.mine:Mine")
    assert (row["level"], row["arxiv"], row["year"]) == ("draft", "1234.5678", 2020)


def test_nothing_is_overwritten(checkout: Path) -> None:
    test = checkout / "tests/policies/serving/test_mine.py"
    test.parent.mkdir(parents=True)
    test.write_text("mine")
    done = new("serving/mine", "--directory", str(checkout))
    assert done.exit_code == 2
    assert "must not exist" in done.stderr
    assert test.read_text() == "mine"
    assert not (checkout / "src/headway/policies/serving/mine.py").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("serving/Mine",), "small letters"),
        (("mine",), "FAMILY/NAME"),
        (("serving/class",), "word of Python"),
        (("serving/../x",), "FAMILY/NAME"),
        (("servin/mine",), "serving"),
        (("serving/sarathi",), "in the catalogue"),
        (("serving/mine", "--seat", "bath"), "batch"),
    ],
)
def test_wrong_names_are_refused(checkout: Path, words: tuple[str, ...], says: str) -> None:
    done = new(*words, "--directory", str(checkout))
    assert done.exit_code == 2
    assert says in done.stderr


def test_no_project_is_an_error(tmp_path: Path) -> None:
    done = new("serving/mine", "--directory", str(tmp_path))
    assert done.exit_code == 2
    assert "pyproject.toml" in done.stderr


def test_any_other_project_gets_a_plug_in(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\nname = "my-plugins"\nversion = "1"\n\n[tool.other]\nx = 1\n')
    done = new("serving/mine", "--directory", str(tmp_path), "--json")
    assert done.exit_code == 0, done.stderr
    assert any("pip install -e" in step for step in json.loads(done.stdout)["next"])
    assert new("serving/second", "--seat", "route", "--directory", str(tmp_path)).exit_code == 0
    points = tomllib.loads(pyproject.read_text())["project"]["entry-points"]["headway.policies"]
    assert points == {"my_plugins_serving": "my_plugins.policies.serving"}

    facts = tmp_path / "src" / "my_plugins-1.dist-info"  # what installing the project would leave
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugins\nVersion: 1\n")
    lines = "\n".join(f"{name} = {value}" for name, value in points.items())
    (facts / "entry_points.txt").write_text(f"[headway.policies]\n{lines}\n")
    checked = in_project(tmp_path, "-m", "headway.app.cli", "check", "serving/mine", "serving/second", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert {o["id"] for o in json.loads(checked.stdout)} == {"serving/mine", "serving/second"}
    tested = in_project(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert tested.returncode == 0, tested.stdout
