"""Fit how much of an accelerator's peaks its kernels reach, and write `efficiency.toml`.

    python tools/fit_efficiencies.py DATA            # DATA: the folder with aic_*.parquet and vidur_*.parquet

Each operator's formula (`headway.sim.serving.cost.operators`) is fitted to the even rows of measured kernel times, by
the logarithm of the ratio and with little weight on outliers; the odd rows test it. Beside the fits, the file keeps the
relative errors on the odd rows. Needs the extra `plan` (pyarrow, scipy).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy.optimize import least_squares

from fit_run import fit_run
from headway.sim.serving.cost.efficiency import FITS
from headway.sim.serving.cost.experts import Coverage
from headway.sim.serving.cost.hardware import FLOAT_BYTES, Accelerator, accelerator_facts
from headway.sim.serving.cost.operators import (
    ExpertFit,
    GemmFit,
    ReduceFit,
    SendFit,
)

MEASURED = {"a100-80gb-sxm": "a100", "h100-sxm": "h100"}
"""Accelerators with measurements, and how the files call them."""
BORROWED = {
    "a100-40gb-sxm": "a100-80gb-sxm", "a40": "a100-80gb-sxm", "a10": "a100-80gb-sxm", "l4": "rtx-4090",
    "l40s": "rtx-4090", "rtx-4090": "a100-80gb-sxm", "rtx-pro-6000": "a100-80gb-sxm", "h200-sxm": "h100-sxm",
    "b200-sxm": "h100-sxm", "mi300x": "h100-sxm",
}  # fmt: skip
"""Who has none, and whose fits they borrow: those whose products run the same way."""
RUNS = {"rtx-4090": "vllm_run_rtx4090_llama-3.1-8b", "rtx-pro-6000": "vllm_run_rtxpro6000_llama-3.1-8b"}
"""Borrowers fitted to a run of a server: the common name of its three files."""
TYPES = {"bfloat16": "bf16", "fp8": "fp8"}
HEAD_DIM = 128
UNGATED = {(2688, 1856), (4096, 2688)}
"""Hidden and inner width of the experts in the tables that have two matrices, not three."""

Row = dict[str, Any]
Predict = Callable[[dict[str, float], Row], float]
Bounds = Mapping[str, tuple[float, float]]


def rows_of(path: Path) -> list[Row]:
    """Read a table of kernel times."""
    found: list[Row] = pq.read_table(path).to_pylist()
    return found


def fit(rows: Sequence[Row], start: dict[str, float], predict: Predict, bounds: Bounds | None = None) -> Row:
    """Fit parameters to the even rows, each above 0 or within its bounds. Return them with the odd rows' errors."""
    within = bounds or {}
    measured = np.array([row["s"] for row in rows])

    def unpack(vector: npt.NDArray[np.float64]) -> dict[str, float]:
        return {name: _free(float(x), within.get(name)) for name, x in zip(start, vector, strict=True)}

    def gaps(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        found = unpack(vector)
        return np.log([predict(found, row) / row["s"] for row in rows[::2]])

    first = [_bound(value, within.get(name)) for name, value in start.items()]
    best = least_squares(gaps, first, loss="soft_l1", f_scale=0.1, max_nfev=60)
    found = unpack(best.x)
    errors = np.abs(np.array([predict(found, row) for row in rows]) / measured - 1)[1::2]
    tested = {"median": float(np.median(errors)), "p90": float(np.quantile(errors, 0.9)), "rows": len(errors)}
    return {"fit": found, "errors": tested}


def _free(x: float, within: tuple[float, float] | None) -> float:
    """Map any number to a parameter."""
    return math.exp(x) if within is None else within[0] + (within[1] - within[0]) / (1 + math.exp(-x))


def _bound(value: float, within: tuple[float, float] | None) -> float:
    """Map a parameter to any number: the other way of `_free`."""
    return math.log(value) if within is None else math.log((value - within[0]) / (within[1] - value))


def fit_gemm(rows: list[Row], on: Accelerator, dtype: str) -> Row:
    """Fit products; those of models have at least 512 columns."""
    used = [row for row in rows if TYPES[row.get("gemm_dtype", "bfloat16")] == dtype and min(row["n"], row["k"]) >= 512]

    def predict(found: dict[str, float], row: Row) -> float:
        return GemmFit(**_gemm(found)).time_s(row["m"], row["n"], row["k"], on, dtype)

    start = {"compute_frac": 0.8, "memory_frac": 0.8, "fixed_s": 4e-6, "power": 2.0, "pad_frac": 0.5, "wave": 0.5}
    if dtype != "bf16":
        start["convert_frac"] = 0.2
    result = fit(used, start, predict, {"pad_frac": (0, 1), "wave": (0, 1), "power": (1, 8)})
    return {**result, "fit": _gemm(result["fit"])}


def _gemm(found: dict[str, float]) -> dict[str, float]:
    """Turn the share `wave` of `pad_frac` into `wave_frac`: below it, time never falls with the rows."""
    rest = {name: value for name, value in found.items() if name != "wave"}
    return {**rest, "wave_frac": found["wave"] * found["pad_frac"]}


def fit_decode(rows: list[Row], on: Accelerator, kv: str) -> Row:
    """Fit attention of decodes at 64 to 32,768 tokens each, of up to 512 requests and 16 queries to a KV head."""
    used = [row for row in rows if _is_kv(row, kv) and row["num_heads"] >= 4 and _is_decode(row)]

    def predict(found: dict[str, float], row: Row) -> float:
        batch, heads, kv_heads = int(row["batch_size"]), int(row["num_heads"]), int(row["num_key_value_heads"])
        num_bytes = batch * (row["step"] + 1) * kv_heads * HEAD_DIM * 2 * FLOAT_BYTES[kv]
        crowd = 1 + found["occupancy"] / (batch * kv_heads)
        read_s = on.read_s(num_bytes) / found["memory_frac"] * crowd
        return found["fixed_s"] + found["head_s"] * batch * heads + read_s

    return fit(used, {"memory_frac": 0.8, "fixed_s": 1e-5, "head_s": 4e-9, "occupancy": 2.0}, predict)


def fit_prefill(rows: list[Row], on: Accelerator, kv: str) -> Row:
    """Fit attention of prompts of at least 16 tokens and four heads."""
    used = [row for row in rows if _is_kv(row, kv) and row["num_heads"] >= 4 and row["isl"] >= 16]

    def predict(found: dict[str, float], row: Row) -> float:
        batch, tokens, heads, kv_heads = row["batch_size"], row["isl"], row["num_heads"], row["num_key_value_heads"]
        flops = 4.0 * HEAD_DIM * heads * batch * tokens * tokens / 2
        num_bytes = batch * tokens * 2.0 * (heads + kv_heads) * HEAD_DIM * 2
        compute_s: float = flops / (on.bf16_flops * found["compute_frac"])
        return found["fixed_s"] + compute_s + on.read_s(num_bytes) / found["memory_frac"]

    return fit(used, {"compute_frac": 0.6, "memory_frac": 0.4, "fixed_s": 1e-5}, predict)


def fit_experts(rows: list[Row], on: Accelerator, dtype: str, distribution: str) -> Row:
    """Fit fused experts on one rank of tensor parallelism, with the skew of one kind of routing."""
    used = [row for row in rows if _is_experts(row, dtype, distribution)]

    def predict(found: dict[str, float], row: Row) -> float:
        covered = Coverage(row["num_experts"], row["topk"], found["skew"]).distinct(row["num_tokens"])
        parameters = 3 * row["hidden_size"] * row["inter_size"] / row["moe_tp_size"]
        return ExpertFit(**found).time_s(row["num_tokens"] * row["topk"], covered, parameters, on, dtype)

    start = {"compute_frac": 0.5, "memory_frac": 0.7, "fixed_s": 2e-5, "power": 2.0, "skew": 0.5}
    bounds = {"compute_frac": (0, 1), "memory_frac": (0, 1), "power": (1, 8), "skew": (0, 2)}
    return fit(used, start, predict, bounds)


def _is_experts(row: Row, dtype: str, distribution: str) -> bool:
    measured = {"bf16": "bfloat16", "fp8": "fp8_block"}[
        dtype
    ]  # checkpoints with experts of 8 bits scale them by blocks
    alike = row.get("moe_dtype", "bfloat16") == measured and row["distribution"] == distribution
    gated = (row["hidden_size"], row["inter_size"]) not in UNGATED
    return alike and gated and row["moe_ep_size"] == 1 and row["moe_tp_size"] <= 8 and row["num_tokens"] <= 16384


def fit_elementwise(rows: list[Row], on: Accelerator) -> Row:
    """Fit norms, rotation, activation and residual sums of a layer of Llama models."""
    names = ("input_layernorm_ms", "post_attention_layernorm_ms", "attn_rope_ms", "mlp_act_ms", "add_ms", "add_ms")
    used = [{**row, "s": 1e-3 * sum(row[name] for name in names)} for row in rows if row["num_tokens"] <= 16384]

    def predict(found: dict[str, float], row: Row) -> float:
        shards, hidden = row["num_tensor_parallel_workers"], row["n_embd"]
        heads = (row["n_head"] + row["n_kv_head"]) * HEAD_DIM
        numbers = 8.0 * hidden + (2.0 * heads + 3.0 * row["n_expanded_embd"]) / shards
        return found["fixed_s"] + on.read_s(row["num_tokens"] * numbers * 2.0) / found["memory_frac"]

    return fit(used, {"memory_frac": 0.6, "fixed_s": 1.2e-5}, predict)


def fit_reduce(rows: list[Row], on: Accelerator) -> Row:
    """Fit NCCL's all-reduces of up to 128 MB; the table counts 16-bit numbers."""
    half = [row for row in rows if row["op_name"] == "all_reduce" and row["nccl_dtype"] == "half"]
    used = [row for row in half if row["message_size"] <= 2**26]

    def predict(found: dict[str, float], row: Row) -> float:
        return ReduceFit(**found).time_s(2.0 * row["message_size"], row["num_gpus"], on)

    start = {"fixed_s": 4e-6, "peer_s": 1.6e-6, "link_frac": 0.6, "power": 0.8}
    return fit(used, start, predict)


def fit_send(rows: list[Row], on: Accelerator) -> Row:
    """Fit transfers between two accelerators of a node, of up to 64 MB."""

    def predict(found: dict[str, float], row: Row) -> float:
        return SendFit(**found).time_s(row["size"], on)

    return fit([{**row, "s": row["median_ms"] * 1e-3} for row in rows], {"fixed_s": 8e-6, "link_frac": 0.6}, predict)


def _is_kv(row: Row, kv: str) -> bool:
    return TYPES[row.get("kv_cache_dtype", "bfloat16")] == kv


def _is_decode(row: Row) -> bool:
    group = row["num_heads"] / row["num_key_value_heads"]
    return bool(63 <= row["step"] < 32768 and row["batch_size"] <= 512 and group <= 16)


def fits_of(name: str, data: Path) -> Iterator[tuple[str, Row]]:
    """Fit every operator of an accelerator."""
    on, short = accelerator_facts(name), MEASURED[name]

    def kernels(what: str) -> list[Row]:
        return [{**row, "s": row["latency"] * 1e-3} for row in rows_of(data / f"aic_{short}_sxm_{what}.parquet")]

    eight = ("bf16", "fp8") if on.fp8_flops else ("bf16",)
    for dtype in eight:
        yield f"gemm.{dtype}", fit_gemm(kernels("gemm"), on, dtype)
        yield f"decode.{dtype}", fit_decode(kernels("generation_attention"), on, dtype)
        yield f"prefill.{dtype}", fit_prefill(kernels("context_attention"), on, dtype)
        yield f"experts.{dtype}", fit_experts(kernels("moe"), on, dtype, "power_law_1.2")
    network = [row for row in rows_of(data / "vidur_network.parquet") if row["net"] == f"{short}_dgx"]
    send = [row for row in network if row["collective"] == "send_recv" and row["devices_per_node"] == 2]
    layers = [row for row in rows_of(data / "vidur_mlp.parquet") if row["gpu"] == short]
    yield "elementwise", fit_elementwise(layers, on)
    yield "reduce", fit_reduce(kernels("nccl"), on)
    yield "send", fit_send(send, on)


def toml_of(fitted: dict[str, list[tuple[str, Row]]]) -> str:
    """Write the fits as TOML."""
    lines = [
        "# Shares of the peaks that kernels reach, fitted to measured times; written by tools/fit_efficiencies.py.",
        "# Fits: even rows of aiconfigurator's kernel tables (vLLM 0.14 on A100 and H100 SXM; NCCL 2.27 and 2.29) and",
        "# of Vidur's profiles (elementwise operators, transfers). Experts of 8 bits are those scaled by blocks.",
        "# `errors` are relative, on the odd rows: median, 90th percentile, number of rows. RTX 4090 and RTX PRO 6000:",
        "# one run of vLLM 0.19 each (tools/fit_run.py), fitted to seconds of its first half, tested on the second.",
    ]
    for name, lender in BORROWED.items():
        lines += ["", f"[{name}]", f'borrow = "{lender}"']
    for name, operators in fitted.items():
        for operator, result in operators:
            lines += ["", f"[{name}.{operator}]", *(f"{key} = {value:.4g}" for key, value in result["fit"].items())]
        lines += ["", f"[{name}.errors]"]
        for operator, result in operators:
            e = result["errors"]
            lines.append(f'"{operator}" = {{ median = {e["median"]:.3f}, p90 = {e["p90"]:.3f}, rows = {e["rows"]} }}')
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fit, print the errors, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the tables of measured times")
    parser.add_argument("--out", type=Path, default=FITS, help="the file to write")
    options = parser.parse_args()
    fitted: dict[str, list[tuple[str, Row]]] = {}
    for name in MEASURED:
        fitted[name] = list(fits_of(name, options.data))
    for name, run in RUNS.items():
        fitted[name] = list(fit_run(options.data / run, "llama-3.1-8b", name, BORROWED[name]))
    for name, operators in fitted.items():
        for operator, result in operators:
            e, found = result["errors"], "  ".join(f"{key} {value:.3g}" for key, value in result["fit"].items())
            errors = f"median {e['median']:6.1%}  p90 {e['p90']:6.1%}  rows {e['rows']:5}"
            print(f"{name:14} {operator:17} {errors}  {found}")
    kept = [line for line in options.out.read_text().split("\n# By hand:\n")[1:]] if options.out.exists() else []
    options.out.write_text(toml_of(fitted) + "".join("\n# By hand:\n" + part for part in kept))


if __name__ == "__main__":
    main()
