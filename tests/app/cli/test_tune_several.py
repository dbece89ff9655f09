"""`headway tune` with several files: an adapter each, trained at once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close
from typer.testing import CliRunner, Result

from headway.app.cli.root import app
from headway.engines.tuning.curve import read_curve
from headway.engines.tuning.lorafusion_runs import Run


@pytest.fixture
def data(tmp_path: Path) -> list[Path]:
    paths = []
    for nth, answer in enumerate(("A train.", "A bus, of course.")):
        lines = [
            {"messages": [{"role": "user", "content": f"What is {word}?"}, {"role": "assistant", "content": answer}]}
            for word in ("a car", "a tree", "the sun", "this", "that", "a cat")[nth:]
        ]
        paths.append(tmp_path / f"task-{nth}.jsonl")
        paths[-1].write_text("\n".join(json.dumps(line) for line in lines))
    return paths


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["tune", *map(str, args)])


def losses(folder: Path) -> list[float]:
    return [news.loss for news in read_curve(folder) if news.loss is not None]


def test_each_comes_to_what_it_comes_to_alone(data: list[Path], tmp_path: Path) -> None:
    how = ("--batch-size", 2, "--epochs", 2, "--learning-rate", 0.003)
    done = run(*data, "--out", tmp_path / "out", "--plot", tmp_path / "loss.svg", *how)
    assert done.exit_code == 0, done.output
    assert "task-0: 6 of 6 steps, loss" in done.stdout
    folders = [tmp_path / "out" / f"task-{nth}" for nth in range(2)]
    adapters = " ".join(f"--adapter {folder.name}={folder}/adapter" for folder in folders)
    assert f"headway serve {adapters}" in done.stdout
    assert (tmp_path / "loss.svg").stat().st_size > 1000
    assert run(data[1], "--out", tmp_path / "alone", *how).exit_code == 0
    assert losses(folders[1]) == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    ours, alone = (
        load_file(path / "adapter" / "adapter_model.safetensors") for path in (folders[1], tmp_path / "alone")
    )
    for name, weight in alone.items():
        assert_close(ours[name], weight, rtol=1e-3, atol=1e-4)


def test_ctrl_c_leaves_runs_that_go_on(data: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = (*data, "--out", tmp_path / "out", "--batch-size", 2, "--epochs", 2, "--json")
    real, pressed = Run.stepped, list[int]()

    def press(self: Run, *rest: Any) -> None:
        real(self, *rest)
        if not pressed:
            pressed.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Run, "stepped", press)
    stopped = run(*args)
    assert stopped.exit_code == 130, stopped.output
    told = json.loads(stopped.stdout)
    assert not told["finished"]
    assert all(str(path) in told["resume"] for path in data)
    finished = json.loads(run(*args).stdout)
    assert finished["finished"]
    assert [one["step"] for one in finished["adapters"]] == [6, 6]
    assert finished["adapters"][0]["adapter"] == f"{tmp_path}/out/task-0/adapter"


@pytest.mark.parametrize(("flag", "value"), [("--name", "x"), ("--valid", "")])
def test_what_is_about_one_adapter_is_refused(data: list[Path], flag: str, value: str) -> None:
    done = run(*data, flag, value or data[0])
    assert done.exit_code != 0
    assert f"tune: {flag} must go with one file of examples, got 2" in " ".join(done.stderr.split())


def test_two_files_of_one_name_are_refused(data: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other" / data[0].name
    other.parent.mkdir()
    other.write_text(data[0].read_text())
    done = run(data[0], other)
    assert done.exit_code != 0
    assert "got 'task-0' twice" in " ".join(done.stderr.split())
