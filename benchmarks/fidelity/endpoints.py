"""How far the prices are from measured servers: TTFT and TPOT of whole engines at a concurrency.

    python benchmarks/fidelity.py endpoints silicon_e2e_ttft_tpot.csv.gz [--json] [--fit]

The table holds measured means of TTFT and TPOT of vLLM, SGLang and TensorRT-LLM on H100 and H200 servers. Each row is
played by a closed loop of as many clients (`closed_loop.py`) against one replica. Rows are split by a hash of their
setting: `--fit` fits what an engine adds (`engines.toml`) on one half and writes it; the other half is the test. How a
server batches (`SERVERS`) is not in the table and was chosen on the first half too. Left out, and counted: rows of
several replicas behind one front, of models whose facts are not shipped, of replicas that do not fit, or whose KV
memory does not hold all clients (how much of it those servers had is not said), and repeated rows.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fidelity.closed_loop import ClosedLoop, Setting
from headway.core.errors import HeadwayError
from headway.sim.serving.cost import EngineFit, ModelFacts, model_facts, replica
from headway.sim.serving.cost.efficiency import ENGINES, engine

FITTED = ("step_s", "sequence_s", "token_s", "kernel_factor")
ENGINES_ABOUT = """\
# What serving engines add to the time of their kernels: fitted through closed loops to measured TTFT and TPOT of
# servers on H100 and H200 by benchmarks/fidelity.py endpoints --fit, on the half of the rows its test does not see.
"""
SERVERS: dict[str, dict[str, Any]] = {
    "vllm": {"budget_tokens": 2048, "mixed": True},
    "sglang": {"budget_tokens": 16384, "mixed": False},
    "trtllm": {"budget_tokens": 4096, "mixed": True},
}
"""Tokens per step, and whether prompts and decodes share steps: the best of 2,048 to 16,384 on one half."""


@dataclass(frozen=True)
class Point:
    """One row of the table."""

    model: ModelFacts
    system: str
    backend: str
    eight_bit: bool
    tensor_parallel: int
    setting: Setting
    ttft_s: float
    tpot_s: float
    is_test: bool

    @property
    def group(self) -> tuple[str, str, str, str]:
        """What errors are reported by."""
        return self.system, self.backend, self.model.name, "fp8" if self.eight_bit else "bf16"


def read(path: Path) -> tuple[list[Point], Counter[str]]:
    """Read the rows that can be compared, and count those that cannot, by reason."""
    with gzip.open(path, "rt") as lines:
        rows = [row for row in csv.DictReader(lines) if row["mode"] == "agg" and row["system"][:4] in ("h100", "h200")]
    found: dict[tuple[Any, ...], Point] = {}
    skipped: Counter[str] = Counter()
    for row in rows:
        why = _why_not(row)
        point = _point(row) if not why else None
        if point is None:
            skipped[why or "does not fit into memory"] += 1
        elif (key := (row["silicon_ttft_ms"], row["silicon_tpot_ms"])) in found:
            skipped["repeated"] += 1
        else:
            found[key] = point
    return list(found.values()), skipped


def _why_not(row: Mapping[str, str]) -> str:
    try:
        model_facts(row["model_path"])
    except HeadwayError:
        return "model without facts"
    if row["attention_dp_size"] not in ("", "1.0") or float(row["tp_size"]) > 8:
        return "several replicas"
    return "" if row["concurrency"] or row["batch_size"] else "no concurrency"


def _point(row: Mapping[str, str]) -> Point | None:
    model, system, backend = model_facts(row["model_path"]), row["system"].split("_")[0], row["backend"]
    clients = int(float(row["concurrency"] or row["batch_size"]))
    tensor, eight_bit = int(float(row["tp_size"])), row["precision"] == "fp8"
    try:
        made = replica(model, system, tensor_parallel=tensor, weights="fp8" if eight_bit else "bf16")
    except HeadwayError:
        return None
    prompt, output = int(row["isl"]), int(row["osl"])
    if clients * (prompt + output) > made.num_kv_tokens:
        return None
    key = f"{model.parameters} {system} {backend} {tensor} {prompt} {output} {clients} {eight_bit}"
    return Point(
        model=model, system=system, backend=backend, eight_bit=eight_bit, tensor_parallel=tensor,
        setting=Setting(clients, prompt, output, made.num_kv_tokens, **SERVERS[backend]),
        ttft_s=float(row["silicon_ttft_ms"]) / 1e3, tpot_s=float(row["silicon_tpot_ms"]) / 1e3,
        is_test=hashlib.sha256(key.encode()).digest()[0] % 2 == 1,
    )  # fmt: skip


def predict(point: Point, fit: EngineFit) -> tuple[float, float]:
    """Return TTFT and TPOT that Headway expects, in seconds."""
    weights = "fp8" if point.eight_bit else "bf16"
    made = replica(point.model, point.system, tensor_parallel=point.tensor_parallel, weights=weights, engine_fit=fit)
    return ClosedLoop(point.setting, made.price).run()


def _made(numbers: Iterable[float]) -> EngineFit:
    given: dict[str, Any] = dict(zip(FITTED, numbers, strict=True))
    return EngineFit(**given)


def fit_engine(points: Iterable[Point]) -> EngineFit:
    """Fit what an engine adds, to the logarithms of the ratios of TPOT and, with half the weight, of TTFT."""
    from scipy.optimize import least_squares

    known = list(points)
    start = np.log([1e-3, 1e-5, 1e-6, 1.0])

    def gaps(vector: Any) -> list[float]:
        fit = _made(map(float, np.exp(vector)))
        found = [(point, *predict(point, fit)) for point in known]
        tpot = [math.log(tpot_s / point.tpot_s) for point, _, tpot_s in found]
        ttft = [0.5 * math.log(ttft_s / point.ttft_s) for point, ttft_s, _ in found]
        return [*tpot, *ttft, *(0.2 * (vector - start))]

    best = least_squares(gaps, start, loss="soft_l1", f_scale=0.1, diff_step=0.02, max_nfev=12)
    return _made(float(f"{x:.3g}") for x in np.exp(best.x))


def errors(points: Iterable[Point]) -> list[dict[str, Any]]:
    """Return relative errors of every point with the engines as shipped."""
    rows = []
    for point in points:
        ttft_s, tpot_s = predict(point, engine(point.backend))
        setting, measured = point.setting, {"ttft_s": point.ttft_s, "tpot_s": point.tpot_s}
        e2e = [first + (setting.output_tokens - 1) * each for first, each in ((ttft_s, tpot_s), measured.values())]
        ratios = {"ttft": ttft_s / point.ttft_s - 1, "tpot": tpot_s / point.tpot_s - 1, "e2e": e2e[0] / e2e[1] - 1}
        rows.append({"group": point.group, "is_test": point.is_test, **ratios})
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return medians and 90th percentiles of the absolute errors, and the median error with its sign."""
    found: dict[str, float] = {"rows": len(rows)}
    for what in ("tpot", "ttft", "e2e"):
        gaps = np.array([row[what] for row in rows])
        found[f"{what}_median"] = float(np.median(np.abs(gaps)))
        found[f"{what}_p90"] = float(np.quantile(np.abs(gaps), 0.9))
        found[f"{what}_bias"] = float(np.median(gaps))
    return found


def report(points: list[Point], skipped: Counter[str]) -> dict[str, Any]:
    """Return all that the benchmark says."""
    rows = errors(points)
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["is_test"]:
            groups[" ".join(row["group"])].append(row)
            groups[f"all of {row['group'][1]}"].append(row)
    return {
        "benchmark": "fidelity/endpoints",
        "target": "median absolute error <= 10 %",
        "test": summary([row for row in rows if row["is_test"]]),
        "train": summary([row for row in rows if not row["is_test"]]),
        "groups": {name: summary(group) for name, group in sorted(groups.items())},
        "left_out": dict(skipped),
    }


def show(found: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{'test half, |error|: median / p90 (bias)':48}{'rows':>5}{'TPOT':>22}{'TTFT':>24}{'E2E':>24}")
    for name, row in [("TEST", found["test"]), ("TRAIN", found["train"]), *found["groups"].items()]:
        cells = (
            f"{row[f'{w}_median']:7.1%} /{row[f'{w}_p90']:7.1%} ({row[f'{w}_bias']:+7.1%})"
            for w in ("tpot", "ttft", "e2e")
        )
        print(f"{name:48}{row['rows']:5}  {'  '.join(cells)}")
    print("left out:", ", ".join(f"{why}: {count}" for why, count in found["left_out"].items()))


def add(choices: Any) -> None:
    """Declare the part's arguments."""
    parser = choices.add_parser("endpoints", help="measured TTFT and TPOT of servers on H100 and H200")
    parser.add_argument("table", type=Path, help="silicon_e2e_ttft_tpot.csv.gz")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--fit", action="store_true", help="fit engines on the other half first, write engines.toml")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Read, fit when asked, compare."""
    points, skipped = read(options.table)
    if options.fit:
        text = ENGINES_ABOUT
        for backend in sorted({point.backend for point in points}):
            fit = fit_engine(point for point in points if point.backend == backend and not point.is_test)
            text += f"[{backend}]\n" + "".join(f"{name} = {getattr(fit, name)}\n" for name in FITTED)
        by_hand = ENGINES.read_text().partition("\n# By hand:")
        ENGINES.write_text(text + "".join(by_hand[1:]))
        engine.cache_clear()
    return report(points, skipped)
