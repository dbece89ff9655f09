"""`headway tune`: from a file of examples to an adapter that can be served."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headway.app.cli import watching
from headway.app.cli.root import app
from headway.app.cli.shipped import shipped_folder
from headway.engines.tuning.curve import read_curve

EXAMPLES = Path(__file__).parents[3] / "examples" / "tuning"
LINES = [
    {"messages": [{"role": "user", "content": f"What is {word}?"}, {"role": "assistant", "content": "A train."}]}
    for word in ("a car", "a tree", "the sun", "this", "that", "a cat")
]
KEYS = {
    "name", "base", "finished", "adapter", "step", "num_steps", "duration_s", "tokens_per_s", "trained_tokens",
    "first_loss", "loss", "valid_loss", "valid_accuracy", "serve", "resume",
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in LINES))
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["tune", *map(str, args)])


def test_it_trains_and_says_how_to_serve(data: Path, tmp_path: Path) -> None:
    folder, plot = tmp_path / "out", tmp_path / "loss.svg"
    done = run(
        data, "--valid", data, "--out", folder, "--name", "style", "--batch-size", 2, "--epochs", 2, "--plot", plot,
        "--learning-rate", 0.003,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "6 of 6 steps" in done.stdout
    assert "loss over the steps" in done.stdout
    assert f"headway serve --adapter style={folder}/adapter" in done.stdout
    assert "6 examples" in done.stderr
    assert "step 3: validation loss" in done.stderr
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert plot.stat().st_size > 1000
    losses = [news.loss for news in read_curve(folder) if news.loss is not None]
    assert losses[-1] < losses[0]


def test_a_program_is_told_as_json(data: Path, tmp_path: Path) -> None:
    done = run(data, "--base", shipped_folder(), "--out", tmp_path / "out", "--epochs", 1, "--json")
    told: dict[str, Any] = json.loads(done.stdout)
    assert told.keys() == KEYS
    assert told["finished"]
    assert told["name"] == "train"
    assert told["valid_loss"] is None
    assert told["serve"] == f"headway serve {shipped_folder()} --adapter train={tmp_path}/out/adapter"


def test_ctrl_c_leaves_a_run_that_goes_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = (data, "--out", tmp_path / "out", "--batch-size", 2, "--epochs", 2)
    whole = json.loads(run(data, "--out", tmp_path / "whole", *args[3:], "--json").stdout)
    real = watching.Watch.tell

    def press(self: watching.Watch, news: Any) -> None:
        real(self, news)
        if news.what == "step" and news.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(watching.Watch, "tell", press)
        stopped = run(*args)
    assert stopped.exit_code == 130
    assert "2 of 6 steps" in stopped.stdout
    assert f"headway tune {data} --out {tmp_path}/out" in stopped.stdout
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    rest = run(*args)
    assert rest.exit_code == 0
    assert "going on after step 2 of 6" in rest.stderr
    assert read_curve(tmp_path / "out") == read_curve(tmp_path / "whole")
    again = json.loads(run(*args, "--json").stdout)
    assert (again["loss"], again["step"]) == (whole["loss"], 6)


def test_another_run_is_not_mixed_in(data: Path, tmp_path: Path) -> None:
    assert run(data, "--out", tmp_path / "out", "--epochs", 1).exit_code == 0
    done = run(data, "--out", tmp_path / "out", "--epochs", 1, "--rank", 2)
    assert done.exit_code == 2
    assert "got one with another rank (8, not 2). Choose another folder, or delete this one." in done.stderr


def test_one_process_at_a_time_trains_in_a_folder(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = run(data, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "one process at a time may train here" in done.stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--rank", "0"], "tune: --rank must be in 1..1024, got 0. Try 8."),
        (["--epochs", "0"], "tune: --epochs must be >= 1, got 0."),
        (["--batch-size", "0"], "tune: --batch-size must be"),
        (["--schedule", "wavy"], "schedule must be one of linear, cosine, constant, got wavy"),
        (["--target", "q_prj"], "targets must be linear layers within the decoder layers"),
        (["--base", "/nowhere"], "model /nowhere: there must be such a folder"),
        (["--plot", "loss.txt"], "must end in"),
        (["--valid", "/nowhere.jsonl"], "/nowhere.jsonl: must be readable or writable, got: No such file"),
    ],
)
def test_what_cannot_work_is_told(data: Path, tmp_path: Path, args: list[str], told: str) -> None:
    done = run(data, "--out", tmp_path / "out", *args)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not (tmp_path / "out" / "adapter").exists()


def test_faulty_lines_are_told_before_anything_is_loaded(data: Path, tmp_path: Path) -> None:
    data.write_text(data.read_text() + "\n" + "\n".join(["no"] * 4))
    done = run(data, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert f"headway: {data}: must hold examples to train on, but line 7: must be one JSON object" in done.stderr
    assert "And 1 more." in done.stderr
    assert "\nline 10: must be one" in "\n" + done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="needs a source checkout")
def test_the_shipped_examples_are_what_their_script_makes(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "make.py").write_bytes((EXAMPLES / "make.py").read_bytes())
    subprocess.run([sys.executable, str(tmp_path / "make.py")], check=True, capture_output=True)
    for name in ("conductor.jsonl", "conductor-valid.jsonl"):
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="needs a source checkout")
def test_the_shipped_model_becomes_a_conductor(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from headway.app.server.tokenizer import load_tokenizer

    done = run(
        EXAMPLES / "conductor.jsonl", "--valid", EXAMPLES / "conductor-valid.jsonl", "--out", tmp_path / "out",
        "--learning-rate", 0.003, "--epochs", 4, "--json",
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["valid_accuracy"] > 0.9
    assert told["valid_loss"] < 0.3
    tokenizer = load_tokenizer(str(shipped_folder()))
    model = AutoModelForCausalLM.from_pretrained(shipped_folder(), dtype="float32")
    model.load_adapter(told["adapter"])
    asked = [{"role": "user", "content": "Can I take my bike?"}]
    ids = tokenizer.encode(tokenizer.prompt_of(asked, add_generation_prompt=True), special=False)
    import torch

    out = model.generate(torch.tensor([ids]), max_new_tokens=40, do_sample=False)[0, len(ids) :]
    assert tokenizer.decode(out.tolist()) == "All aboard! Animals and bikes ride in the last car. Mind the gap."
