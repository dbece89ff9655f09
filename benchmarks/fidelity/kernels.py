"""How far the prices are from measured kernels and steps that their fits have not seen.

    python benchmarks/fidelity.py kernels PERF [--energy mlenergy_llm_runs.csv] [--json]

PERF is the folder with the tables of measured times. Checks, each as relative errors:

- operators: the fits on the odd rows of their own tables, as `efficiency.toml` keeps them;
- products: layers of Llama models as Vidur profiled them, with other software and machines than the fits' tables;
- attention: Vidur's profile of decodes and of prompts in chunks after a context, on A100;
- steps of an old engine: prompt and token times of Llama-2-70B as Splitwise measured them in 2023, an eager engine
  whose own time and factor are fitted per accelerator and phase on every other setting and tested on the rest;
- gaps between tokens of vLLM on H100 and B200 (with `--energy`): medians of whole runs of the ML.ENERGY leaderboard;
- memory: tokens of KV that DistServe's and vLLM's engines found room for.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headway.core.errors import HeadwayError
from headway.core.parameters import read_toml
from headway.sim.serving.cost import EngineFit, RooflinePrice, accelerator_facts, model_facts, replica
from headway.sim.serving.cost.efficiency import FITS, efficiency
from headway.sim.serving.cost.stage import Stage
from headway.sim.serving.price import BatchShape, Chunk

Pairs = list[tuple[float, float]]  # predicted, measured
ACCELERATORS = {"a100": "a100-80gb-sxm", "h100": "h100-sxm"}
PROMPT_TOKENS = 150
"""Of the runs in the energy table, which does not say."""


def _rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq  # an extra, and only this part needs it

    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def products(perf: Path) -> Iterator[tuple[str, Pairs]]:
    """Compare the products of one layer."""
    groups: dict[str, Pairs] = defaultdict(list)
    for row in _rows(perf / "vidur_mlp.parquet"):
        on, model = accelerator_facts(row["gpu"]), model_facts(row["model"])
        shards, fit = row["num_tensor_parallel_workers"], efficiency(on.name).gemm["bf16"]
        shapes = (*model.attention_shapes(shards), *model.mlp_shapes(shards))
        predicted = sum(fit.time_s(row["num_tokens"], rows, columns, on) for rows, columns in shapes)
        names = ("attn_pre_proj_ms", "attn_post_proj_ms", "mlp_up_proj_ms", "mlp_down_proj_ms")
        groups[f"{row['gpu']} {model.name}"].append((predicted, sum(row[name] for name in names) / 1e3))
    yield from ((f"products of a layer, {name}", pairs) for name, pairs in groups.items())


def attention(perf: Path) -> Iterator[tuple[str, Pairs]]:
    """Compare attention of Llama-2-70B's shape on two A100."""
    stage = Stage(
        model=model_facts("llama-2-70b"), accelerator=accelerator_facts("a100"), tensor_parallel=2, pipeline_parallel=1,
        weights="bf16", kv="bf16", efficiency=efficiency("a100-80gb-sxm"),
    )  # fmt: skip
    once_s, pair_s, token_s, context_s = stage.prefill_s()
    decodes: Pairs = []
    prompts: Pairs = []
    for row in _rows(perf / "vidur_attention_a100.parquet"):
        batch, new, context = row["batch_size"], row["prefill_chunk_size"], row["kv_cache_size"]
        if row["is_prefill"] and row["prefill_ms"] is not None:
            work_s = new * ((context + new / 2) * pair_s + token_s) + context * context_s
            prompts.append(((once_s + batch * work_s) / stage.num_layers, row["prefill_ms"] / 1e3))
        elif not row["is_prefill"] and row["decode_ms"] is not None and context:
            base_s, line_s = stage.decode_s(batch)
            decodes.append(((base_s + line_s * batch * context) / stage.num_layers, row["decode_ms"] / 1e3))
    yield "attention of decodes, a100", decodes
    yield "attention of prompts in chunks, a100", prompts


def old_engine(perf: Path) -> Iterator[tuple[str, Pairs]]:
    """Compare prompt and token times of Splitwise, with the engine's constants fitted on every other setting."""
    with gzip.open(perf / "splitwise_perf_power.csv.gz", "rt") as lines:
        rows = [
            row for row in csv.DictReader(lines) if int(row["prompt_size"]) <= 4096 and "pcap" not in row["hardware"]
        ]
    times: dict[tuple[Any, ...], list[tuple[float, float]]] = defaultdict(list)
    for row in (row for row in rows if "pcap" not in row["hardware"]):
        setting = (int(row[key]) for key in ("tensor_parallel", "prompt_size", "batch_size", "token_size"))
        times[row["hardware"][:4], *setting].append((float(row["prompt_time"]) / 1e3, float(row["token_time"]) / 1e3))
    for gpu in ACCELERATORS:
        for phase, name in enumerate(("prompt", "token")):
            settings = sorted(key for key in times if key[0] == gpu)
            steps = [(key[1], _step(phase, *key[2:]), float(np.median(times[key], axis=0)[phase])) for key in settings]
            fit = _fit_engine(gpu, steps[::2])
            about = f"step {fit.step_s * 1e3:.1f} ms, factor {fit.kernel_factor:.2f}"
            yield (
                f"{name} time 2023, {gpu} ({about})",
                [(_price(gpu, tp, fit).step_s(s), t) for tp, s, t in steps[1::2]],
            )


def _step(phase: int, prompt: int, batch: int, output: int) -> BatchShape:
    if phase == 0:
        return BatchShape(0, 0, (Chunk(prompt, 0),) * batch)
    return BatchShape(batch, batch * (prompt + output // 2))


def _price(gpu: str, tensor: int, fit: EngineFit) -> RooflinePrice:
    price = replica("llama-2-70b", gpu, tensor_parallel=tensor, memory_frac=1.0, engine_fit=fit).price
    assert isinstance(price, RooflinePrice)
    return price


def _fit_engine(gpu: str, steps: list[tuple[int, BatchShape, float]]) -> EngineFit:
    from scipy.optimize import least_squares  # an extra, and only this part needs it

    def made(x: Any) -> EngineFit:
        return EngineFit(step_s=float(np.exp(x[0])), sequence_s=0.0, kernel_factor=float(np.exp(x[1])))

    def gaps(x: Any) -> list[float]:
        return [float(np.log(_price(gpu, tensor, made(x)).step_s(shape) / took)) for tensor, shape, took in steps]

    return made(least_squares(gaps, np.log([1e-2, 1.2]), loss="soft_l1", f_scale=0.1).x)


def token_gaps(table: Path) -> Iterator[tuple[str, Pairs]]:
    """Compare median gaps between tokens of vLLM's runs."""
    groups: dict[str, Pairs] = defaultdict(list)
    for row in csv.DictReader(table.open()):
        tensor, batch, output = int(row["num_gpus"]), float(row["avg_batch_size"]), float(row["avg_output_len"])
        weights = "fp8" if row["weight_precision"] == "fp8" else "bf16"
        if row["tensor_parallel"] != row["num_gpus"]:
            continue
        try:
            model, gpu = model_facts(row["model_id"]), row["gpu_model"].lower()
            made = replica(model, gpu, tensor_parallel=tensor, weights=weights, memory_frac=1.0)
        except HeadwayError:  # no facts of this model here
            continue
        predicted = made.price.step_s(BatchShape(round(batch), int(batch * (PROMPT_TOKENS + output / 2))))
        group = f"{gpu}, {'experts' if model.num_experts else 'dense'}, {'<=' if batch <= 32 else '>'} 32 requests"
        groups[group].append((predicted, float(row["median_itl_ms"]) / 1e3))
    yield from ((f"gap between tokens, {name}", pairs) for name, pairs in sorted(groups.items()))


def memory(perf: Path) -> Iterator[tuple[str, Pairs]]:
    """Compare tokens of KV: DistServe on A100 with 0.95 of the memory, vLLM 0.19 on an RTX 4090 with 0.9."""
    pairs: Pairs = []
    for row in csv.DictReader((perf / "distserve_max_num_tokens.csv").open()):
        tensor, pipeline = int(row["tp"]), int(row["pp"])
        try:
            made = replica(
                row["model"], "a100", tensor_parallel=tensor, pipeline_parallel=pipeline, memory_frac=0.95,
                max_batched_tokens=2048,
            )  # fmt: skip
        except HeadwayError:  # heads that this many do not divide
            continue
        pairs.append((made.num_kv_tokens, float(row["max_num_tokens"])))
    yield "tokens of KV, distserve", pairs
    meta = json.loads((perf / "vllm_run_rtx4090_llama-3.1-8b.meta.json").read_text())
    made = replica("llama-3.1-8b", "rtx-4090", max_batched_tokens=meta["engine_kwargs"]["max_num_batched_tokens"])
    yield "tokens of KV, vllm on rtx-4090", [(made.num_kv_tokens, meta["kv_cache"]["num_kv_tokens"])]


def operators() -> dict[str, dict[str, float]]:
    """Return the errors that the fits keep."""
    table = read_toml(FITS)
    return {
        f"{name} {operator}": found
        for name, one in table.items()
        for operator, found in one.get("errors", {}).items()
    }  # fmt: skip


def summary(pairs: Pairs) -> dict[str, float]:
    """Return the median and 90th percentile of the absolute errors, and the median error with its sign."""
    gaps = np.array([predicted / measured - 1 for predicted, measured in pairs])
    return {
        "median": float(np.median(np.abs(gaps))),
        "p90": float(np.quantile(np.abs(gaps), 0.9)),
        "bias": float(np.median(gaps)),
        "rows": len(pairs),
    }


def add(choices: Any) -> None:
    """Declare the part's arguments."""
    parser = choices.add_parser("kernels", help="measured kernels, steps and memory")
    parser.add_argument("perf", type=Path, help="folder with the tables of measured times")
    parser.add_argument("--energy", type=Path, help="mlenergy_llm_runs.csv")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run all checks."""
    checks: list[Callable[[Path], Iterable[tuple[str, Pairs]]]] = [products, attention, old_engine, memory]
    found = {name: summary(pairs) for check in checks for name, pairs in check(options.perf)}
    if options.energy:
        found |= {name: summary(pairs) for name, pairs in token_gaps(options.energy)}
    return {"benchmark": "fidelity/kernels", "operators": operators(), "checks": found}


def show(found: dict[str, Any]) -> None:
    """Print a table."""
    for name, row in (*found["operators"].items(), *found["checks"].items()):
        bias = f"bias {row['bias']:+7.1%}" if "bias" in row else ""
        print(f"{name:62} median {row['median']:6.1%}  p90 {row['p90']:6.1%}  rows {row['rows']:5} {bias}")
