"""A run that is killed again and again comes to what it would have come to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from engines.tuning.making import make_spec, write_tokens
from headway.engines.tuning.curve import read_curve
from headway.engines.tuning.trainer import Trainer


@pytest.mark.parametrize("num_kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_at_any_point_changes_nothing(tmp_path: Path, llama: str, num_kills: int) -> None:
    write_tokens(tmp_path / "valid", num=5, seed=9)
    changes = {"valid_tokens": str(tmp_path / "valid"), "checkpoint_steps": 1, "dropout": 0.2}
    spec = make_spec(tmp_path, llama, **changes)
    Trainer(spec).train(lambda _: None)
    whole = Trainer(spec)
    killed = make_spec(tmp_path, llama, folder=str(tmp_path / "killed"), **changes)
    script = str(Path(__file__).with_name("killing.py"))
    command = [sys.executable, script, msgspec.json.encode(killed).decode(), "3", str(num_kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) > num_kills / 4
    assert [news.loss for news in read_curve(Path(killed.folder))] == [n.loss for n in read_curve(Path(spec.folder))]
    weights = load_file(whole.finish() / "adapter_model.safetensors")
    others = load_file(Path(killed.folder) / "adapter" / "adapter_model.safetensors")
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    left = {path.name for path in Path(killed.folder).iterdir()}
    assert left == {"adapter", "checkpoints", "curve.jsonl", "run.json"}
