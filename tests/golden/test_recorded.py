"""A recorded run is found again: one that virtual time itself made, and those of real servers where they are there."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from headway.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
REAL = ROOT.parent / "shared" / "data" / "perf" / "vllm_run_rtx4090_llama-3.1-8b.jsonl.gz"
NUM_REQUESTS = 40
META = {
    "model": "llama-3.1-8b",
    "gpu": "RTX4090",
    "engine_kwargs": {"max_num_seqs": 64, "max_num_batched_tokens": 2048},
    "kv_cache": {"num_gpu_blocks": 1200, "block_size": 16},
}

pytestmark = pytest.mark.skipif(not (BENCHMARKS / "fidelity").is_dir(), reason="needs a source checkout")


@pytest.fixture(scope="module")
def recorded() -> Iterator[ModuleType]:
    pytest.importorskip("scipy")
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("fidelity.recorded")
    sys.path.remove(str(BENCHMARKS))


def write(path: Path, felt: dict[str, np.ndarray] | None = None) -> Path:
    """Write a log of made requests that felt this, or something."""
    rng = np.random.default_rng(3)
    arrival = np.cumsum(rng.exponential(0.1, NUM_REQUESTS)) - 0.01
    prompt, output = rng.integers(200, 1500, NUM_REQUESTS), rng.integers(50, 300, NUM_REQUESTS)
    ttft, e2e = (felt["ttft_s"], felt["e2e_s"]) if felt else (np.full(NUM_REQUESTS, 0.5), np.full(NUM_REQUESTS, 2.0))
    names = ("arrival_s", "scheduled_s", "first_token_s", "last_token_s", "input_tokens", "output_tokens")
    columns = (arrival, arrival, arrival + ttft, arrival + e2e, prompt, output)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(column.tolist() for column in columns), strict=True)]
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))
    Path(str(path).replace(".jsonl.gz", ".meta.json")).write_text(json.dumps(META))
    return path


def made_run(recorded: ModuleType, folder: Path) -> tuple[object, object]:
    """Make a run on hardware that is a third faster than what is borrowed."""
    knobs = recorded.Knobs(0.95, 0.95, 0.95, 4e-4, 8e-6)
    blank = recorded.Run(write(folder / "blank.jsonl.gz"))
    felt = blank.play(blank.fitted(knobs))
    return recorded.Run(write(folder / "made.jsonl.gz", felt)), knobs


def test_a_run_played_with_what_made_it_has_no_error(recorded: ModuleType, tmp_path: Path) -> None:
    run, knobs = made_run(recorded, tmp_path)
    found = recorded.score(run, run.play(run.fitted(knobs)), slice(None))  # type: ignore[attr-defined]
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        assert abs(found[metric]["p50_error"]) < 1e-9
        assert found[metric]["median_abs_error"] < 1e-9
    assert abs(found["output_tokens_per_s"]["error"]) < 1e-9


def test_a_fit_to_the_first_half_finds_the_second(recorded: ModuleType, tmp_path: Path) -> None:
    run, _ = made_run(recorded, tmp_path)
    blind = recorded.score(run, run.play(run.fitted(recorded.borrowed())), slice(20, None))  # type: ignore[attr-defined]
    knobs = recorded.fit(run, 20, max_plays=70)
    found = recorded.score(run, run.play(run.fitted(knobs)), slice(20, None))  # type: ignore[attr-defined]
    assert blind["tpot_s"]["median_abs_error"] > 0.15
    assert found["tpot_s"]["median_abs_error"] < 0.05
    assert found["e2e_s"]["median_abs_error"] < 0.05


def test_a_run_without_settings_is_refused(recorded: ModuleType, tmp_path: Path) -> None:
    path = write(tmp_path / "made.jsonl.gz")
    (tmp_path / "made.meta.json").unlink()
    with pytest.raises(ConfigError, match=r"found no made\.meta\.json. Give --meta FILE"):
        recorded.Run(path)


@pytest.mark.skipif(not REAL.exists(), reason="needs the recorded run")
def test_the_second_half_of_a_real_run_is_within_the_target(recorded: ModuleType) -> None:
    """With the numbers that the benchmark fits to the first half; queue and memory fill as the server's did."""
    run, knobs = recorded.Run(REAL), recorded.Knobs(1.134, 0.932, 0.8598, 2.432e-4, 5.569e-6)
    times = run.play(run.fitted(knobs))
    found = recorded.score(run, times, slice(150, None))
    assert max(abs(found[metric]["p50_error"]) for metric in ("ttft_s", "tpot_s", "e2e_s")) < 0.05
    assert abs(found["output_tokens_per_s"]["error"]) < 0.05
    counters = recorded.states(run, knobs)
    assert counters["running"]["mean_abs_gap"] < 2
    assert counters["waiting"]["mean_abs_gap"] < 5
    assert counters["kv_used_frac"]["mean_abs_gap"] < 0.05
