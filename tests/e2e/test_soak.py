from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


@pytest.mark.slow
def test_a_short_soak_finds_nothing_wrong() -> None:
    """Flat memory is a matter of the long run, `python benchmarks/soak.py`."""
    command = [sys.executable, str(SOAK), "--requests", "400", "--clients", "32", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=280, check=False).stdout)
    assert found["num_requests"] == 400
    assert found["wrong"] == []
    assert not any(found["left_over"].values())
    assert found["exit_status"] == 0
