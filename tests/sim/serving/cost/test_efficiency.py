"""Fits that come with Headway, and the tools that make them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.core.parameters import read_toml
from headway.sim.serving.cost import EngineFit, PowerFit, accelerator_facts, accelerators, replica
from headway.sim.serving.cost.efficiency import ENGINES, FITS, efficiency, engine, of_type
from headway.sim.serving.cost.operators import GemmFit, ReduceFit
from headway.sim.serving.cost.power import POWER, power_fit
from headway.sim.serving.price import BatchShape, Chunk, LinearPrice

ROOT = Path(__file__).parents[4]
PERF = ROOT.parent / "shared" / "data" / "perf"


def load(path: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a script of the repository."""
    file = ROOT / path
    if not file.exists():
        pytest.skip(f"{path} is not here")
    monkeypatch.syspath_prepend(str(file.parent))
    spec = importlib.util.spec_from_file_location(f"_script_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(accelerators()))
def test_every_accelerator_has_fits_or_says_whose_it_borrows(name: str) -> None:
    fits = efficiency(name)
    assert set(fits.gemm) >= {"bf16"}
    assert fits.borrowed_from == read_toml(FITS).get(name, {}).get("borrow", "")
    assert all(0 < fit.memory_frac <= 1.0 and 0 < fit.compute_frac <= 1.1 for fit in fits.gemm.values())
    assert 0 < power_fit(name).awake_frac < 1


def test_the_kept_errors_are_small() -> None:
    """What a user quotes: medians on rows that no fit has seen."""
    kept = {
        f"{name} {operator}": found["median"]
        for name, table in read_toml(FITS).items()
        for operator, found in table.get("errors", {}).items()
    }
    assert len(kept) >= 20
    assert max(kept.values()) < 0.12
    assert np.median(list(kept.values())) < 0.08


def test_names_in_the_files_are_accelerators() -> None:
    assert set(read_toml(FITS)) <= set(accelerators())
    assert set(read_toml(POWER)) <= set(accelerators())


@pytest.mark.parametrize("name", sorted(read_toml(ENGINES)))
def test_engines_can_be_read(name: str) -> None:
    assert 0.8 < engine(name).kernel_factor < 1.3
    assert 0 <= engine(name).step_s < (25e-3 if name.endswith("-2023") else 5e-3)


def test_an_accelerator_nobody_knows_gets_plain_guesses() -> None:
    assert efficiency("abacus").gemm == {}
    assert power_fit("abacus") == PowerFit()


def test_a_type_without_a_fit_takes_the_nearest() -> None:
    fits = {"bf16": 1, "fp8": 2}
    assert [of_type(fits, dtype, 0) for dtype in ("bf16", "fp8", "int8", "int4", "fp16")] == [1, 2, 2, 1, 1]
    assert of_type({"fp8": 2}, "int4", 0) == 0


def test_conversion_of_inputs_is_paid_only_where_it_is_not_fused() -> None:
    shape = BatchShape(0, 0, (Chunk(4096, 0),))
    fused, apart = (
        replica("llama-3-8b", "h100", weights="fp8", engine_fit=EngineFit(fused=fused)).price.step_s(shape)
        for fused in (True, False)
    )
    wide = replica("llama-3-8b", "h100", engine_fit=EngineFit()).price.step_s(shape)
    assert fused < wide < apart


@pytest.mark.parametrize("change", [{"step_s": -1.0}, {"kernel_factor": 0.0}, {"sequence_s": -1e-9}])
def test_engines_must_make_sense(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="engine: its times must be >= 0"):
        EngineFit(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"awake_frac": 1.5}, {"memory_frac": -0.1}])
def test_power_must_make_sense(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="power: awake_frac"):
        PowerFit(**change)


def test_products_approach_the_roofline_from_above() -> None:
    on, fit = accelerator_facts("h100"), efficiency("h100-sxm").gemm["bf16"]
    for rows in (1, 17, 128, 4096):
        least_s = max(2 * rows * 8192 * 8192 / on.bf16_flops, on.read_s(2 * 8192 * 8192))
        assert least_s < fit.time_s(rows, 8192, 8192, on) < 2 * least_s + 1e-5


def test_a_join_of_any_power_lies_between_the_longer_and_the_sum() -> None:
    on = accelerator_facts("a100")
    sharp, added = (
        GemmFit(compute_frac=1, memory_frac=1, fixed_s=0, power=power, pad_frac=0, wave_frac=0).time_s(
            256, 4096, 4096, on
        )
        for power in (float("inf"), 1.0)
    )
    soft = GemmFit(compute_frac=1, memory_frac=1, fixed_s=0, power=2, pad_frac=0, wave_frac=0)
    assert sharp < soft.time_s(256, 4096, 4096, on) < added < 2 * sharp


def test_one_accelerator_reduces_nothing() -> None:
    on = accelerator_facts("h100")
    assert ReduceFit().time_s(1e6, 1, on) == 0
    assert 0 < ReduceFit().time_s(1e3, 2, on) < ReduceFit().time_s(1e3, 8, on) < ReduceFit().time_s(1e8, 8, on)


def test_the_tool_finds_the_numbers_that_made_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("pyarrow")
    tool = load("tools/fit_efficiencies.py", monkeypatch)
    on, true = accelerator_facts("h100"), GemmFit(compute_frac=0.7, memory_frac=0.6, fixed_s=5e-6, power=3.0)
    sizes = [(m, n, k) for m in (1, 16, 200, 512, 3000) for n in (1024, 5120) for k in (768, 4096, 8192)]
    rows = [{"m": m, "n": n, "k": k, "s": true.time_s(m, n, k, on)} for m, n, k in sizes]
    found = tool.fit_gemm(rows, on, "bf16")
    assert found["errors"]["p90"] < 0.02
    assert found["fit"]["compute_frac"] == pytest.approx(0.7, rel=0.05)
    assert found["fit"]["memory_frac"] == pytest.approx(0.6, rel=0.05)


@pytest.mark.skipif(not PERF.exists(), reason="needs the tables of measured times")
def test_the_shipped_fit_is_what_the_tables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("pyarrow")
    tool = load("tools/fit_efficiencies.py", monkeypatch)
    rows = tool.rows_of(PERF / "aic_a100_sxm_gemm.parquet")[1::2]
    on, fit = accelerator_facts("a100"), efficiency("a100-80gb-sxm").gemm["bf16"]
    used = [row for row in rows if min(row["n"], row["k"]) >= 512]
    gaps = [abs(fit.time_s(row["m"], row["n"], row["k"], on) / row["latency"] * 1e3 - 1) for row in used]
    assert np.median(gaps) < 0.08


def closed_loop(monkeypatch: pytest.MonkeyPatch, **change: Any) -> tuple[float, float]:
    """Run the benchmark's closed loop at round prices."""
    module = load("benchmarks/fidelity/closed_loop.py", monkeypatch)
    given = {"clients": 1, "prompt_tokens": 100, "output_tokens": 11, "kv_tokens": 10**6, "front_s": 0.5, "rounds": 3}
    price = LinearPrice(fixed_s=1.0, prefill_token_s=0.01, decode_s=0.1, context_token_s=0.0)
    found: tuple[float, float] = module.ClosedLoop(module.Setting(**{**given, **change}), price).run()
    return found


def test_one_client_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    ttft_s, tpot_s = closed_loop(monkeypatch)
    assert ttft_s == pytest.approx(0.5 + 1.0 + 100 * 0.01)
    assert tpot_s == pytest.approx(1.1)


def test_a_prompt_beyond_the_budget_takes_several_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    ttft_s, _ = closed_loop(monkeypatch, budget_tokens=40)
    assert ttft_s == pytest.approx(0.5 + 3 * 1.0 + 100 * 0.01)


def test_clients_beyond_the_memory_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clients, room for one: the second waits for the first one's whole answer."""
    ttft_s, tpot_s = closed_loop(monkeypatch, clients=2, kv_tokens=111, rounds=1, front_s=0.0)
    alone_s = 1.0 + 100 * 0.01
    assert tpot_s == pytest.approx(1.1)
    assert ttft_s == pytest.approx((alone_s + 2 * alone_s + 10 * 1.1) / 2)
