"""Real vLLM as a witness: virtual time makes the very steps that it makes, under its own scheduler and under ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "src" / "headway" / "engines" / "llm" / "shipped" / "headway-mini"
SHORT = ("--seconds", "3", "--calibrate-s", "2", "--loads", "1.2", "--hosted-loads", "1.2", "--max-seqs", "8")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed (make vllm)"),
    pytest.mark.skipif(not (ROOT / "benchmarks" / "fidelity").is_dir(), reason="needs a source checkout"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "benchmarks" / "fidelity.py"), "vllm", "--json", "--model", str(MODEL)]
    keep = ["--keep", str(tmp_path_factory.mktemp("witness"))]
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, *SHORT, *keep], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("policy", ["vllm", "serving/vllm-v1", "serving/sarathi"])
def test_with_the_times_of_live_steps_virtual_time_makes_the_same_steps(found: dict[str, Any], policy: str) -> None:
    row = next(row for row in found["runs"] if row["policy"] == policy)
    assert row["num_requests"] >= 10
    assert row["live_steps"]["waiting"] > 0, "nobody had to wait: too easy"
    assert row["steps_inside"]["same_frac"] == 1.0
    assert row["steps_inside"]["worst_request_s"] < 1e-5
    assert max(abs(error) for error in row["errors_inside"].values()) < 1e-4
