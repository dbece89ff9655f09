"""The log of vLLM's steps: how long each held up the next, and whether virtual time finds a run again by it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from headway.sim.serving.cost.fitted import Calibration, FittedPrice
from headway.sim.serving.price import BatchShape, Chunk
from headway.traces.table import RequestTable

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FACTS = {"num_blocks": 100, "block_size": 16, "max_seqs": 4, "is_async": False}
FLAT = FittedPrice(knots=((1, 0.01), (100, 0.01)))

pytestmark = pytest.mark.skipif(not (BENCHMARKS / "fidelity").is_dir(), reason="needs a source checkout")


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> Iterator[None]:
    pytest.importorskip("scipy")
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def module(name: str) -> ModuleType:
    return importlib.import_module(f"fidelity.{name}")


def step(begin_s: float, got_s: float, end_s: float, **rest: Any) -> dict[str, Any]:
    quiet = {"decodes": 0, "context_tokens": 0, "chunks": [], "first": [], "ended": [], "running": 1, "waiting": 0}
    return {"begin_s": begin_s, "got_s": got_s, "end_s": end_s, "is_last": False} | quiet | rest


ROWS = [
    {"arrived": "cmpl-a-0-beef", "at_s": 1.0},
    step(1.0, 1.9, 1.95, chunks=[[30, 0]], first=["cmpl-a-0-beef"]),
    step(2.0, 2.4, 2.5, decodes=1, context_tokens=30, ended=["cmpl-a-0-beef"], is_last=True),
    step(2.6, 2.7, 2.8, is_last=True),
]


def written(folder: Path, is_async: bool) -> Path:
    lines = [{"facts": FACTS | {"is_async": is_async}}, *ROWS]
    path = folder / "steps.log"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"begin_s": 3.0, "go')
    return path


def test_a_step_lasts_until_the_next_is_decided_on_or_nobody_is_left(tmp_path: Path) -> None:
    log = module("step_reading").read_log(written(tmp_path, is_async=False))
    assert [line.took_s for line in log.lines] == pytest.approx([1.0, 0.5])
    assert log.steps[0].pairs == 30 * 15
    assert (log.sent["cmpl-a"].first_s, log.sent["cmpl-a"].last_s) == pytest.approx((2.0, 2.5))


def test_a_step_that_was_decided_on_ahead_begins_when_the_one_before_it_ended(tmp_path: Path) -> None:
    ahead = [dict(row) for row in ROWS]
    ahead[2]["begin_s"] = 1.2
    log = module("step_reading").read_log(written(tmp_path, is_async=True))
    assert [line.took_s for line in log.lines] == pytest.approx([0.9, 0.4])
    path = tmp_path / "ahead.log"
    path.write_text("".join(json.dumps(line) + "\n" for line in [{"facts": FACTS | {"is_async": True}}, *ahead]))
    log = module("step_reading").read_log(path)
    assert [line.begin_s for line in log.lines] == pytest.approx([1.0, 1.9])
    assert [line.took_s for line in log.lines] == pytest.approx([0.9, 0.5])


def test_virtual_time_goes_by_the_times_of_a_run() -> None:
    calibration = Calibration(
        price=FLAT, num_layers=2, num_kv_tokens=1600, max_seqs=4, overheads={"first_token_s": 0.0, "last_token_s": 0.0}
    )
    twin = module("virtual").Twin(calibration, "serving/vllm-v1", {"max_batched_tokens": 64, "max_seqs": 4})
    table = RequestTable(np.array([0.0, 0.015]), np.array([20, 20]), np.array([3, 2]))
    took = [0.02, 0.05, 0.03, 0.01]  # a alone; a and the prompt of b; a and b; nobody
    begins = 7.0 + np.cumsum([0.0, *took[:-1]])
    steps = [(begin, t, BatchShape(0, 0, (Chunk(20, 0),))) for begin, t in zip(begins.tolist(), took, strict=True)]
    felt = twin.with_times_of(steps, 7.0).felt(table)
    assert felt["ttft_s"] == pytest.approx([0.02, 0.055])
    assert felt["e2e_s"] == pytest.approx([0.1, 0.085])
    assert twin.felt(table)["e2e_s"] == pytest.approx([0.03, 0.025])
