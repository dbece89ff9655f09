"""Speed of the LLM engine's CPU kernels: C++ against their pure-torch twins and plain `F.linear`.

Every figure is the median of interleaved runs, so that a noisy neighbour slows all sides alike, and stands beside the
limits of the machine measured in the same run: bytes read per second, and the fastest matrix product.

    python benchmarks/kernels.py [--only ops|model] [--kinds bfloat16,int8] [--repeats N] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import linear

from headway.engines.llm.native import DecoderLayer, Kernels, Packed, RaggedBatch, WeightKind, kernels

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, MLP, VOCAB, BLOCK = 896, 24, 14, 2, 64, 4864, 151_936, 16
LINEARS = {
    "qkv": (1152, 896),
    "output": (896, 896),
    "gate_up": (9728, 896),
    "down": (896, 4864),
    "lm_head": (VOCAB, 896),
}
CACHE_BUSTING_BYTES = 160e6
ATTENTIONS = ((1, 1, 128), (32, 1, 128), (32, 1, 512), (4, 1, 4096), (1, 512, 512), (1, 512, 4096))

Run = Callable[[], object]


def medians_s(sides: dict[str, Run], repeats: int) -> dict[str, float]:
    """Return the median time of each side, running them in turns."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, run in sides.items():
            begin = time.perf_counter()
            run()
            if turn > 0:
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def limits(repeats: int) -> dict[str, float]:
    """Measure what this machine can do at best: bytes read, and products of large matrices, per second.

    The fastest of several ways counts, our own included, and of several runs the fastest, since a limit that a busy
    neighbour lowers is none.
    """
    stream, row = torch.ones(1 << 26), torch.randn(8, 1024).bfloat16()
    packed = kernels().pack(torch.randn(1 << 17, 1024).bfloat16())
    by_sum = stream.nbytes / _best_s(stream.sum, repeats)
    by_product = packed.num_bytes / _best_s(partial(kernels().linear, row, packed), repeats)
    found = {"read_bytes_per_s": max(by_sum, by_product)}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(256, 1024).to(dtype), torch.randn(2048, 1024).to(dtype)
        ways: list[Run] = [partial(linear, a, b), partial(kernels().linear, a, kernels().pack(b))]
        best_s = min(_best_s(run, 10 * repeats) for run in ways)
        found[f"{str(dtype)[6:]}_flops_per_s"] = 2 * 256 * 1024 * 2048 / best_s
    return found


def _best_s(run: Run, repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def bench_linear(name: str, kind: WeightKind, rows: int, repeats: int) -> dict[str, Any]:
    """Time one projection on as many copies of its weight as leave the cache cold."""
    num_outputs, num_inputs = LINEARS[name]
    dtype = torch.float32 if kind == "float32" else torch.bfloat16
    num_bytes = num_outputs * num_inputs * (1 if kind == "int8" else dtype.itemsize)
    num_copies = max(1, int(CACHE_BUSTING_BYTES / num_bytes))
    weights = [torch.randn(num_outputs, num_inputs).to(dtype) for _ in range(num_copies)]
    x = torch.randn(rows, num_inputs).to(dtype)
    sides: dict[str, Run] = {"linear": lambda: [linear(x, w) for w in weights]}
    for own in (kernels(), kernels("torch")):
        sides[own.name] = partial(_multiply_all, own, x, [own.pack(w, kind) for w in weights])
    found = medians_s(sides, repeats)
    per_call = {side: seconds / len(weights) for side, seconds in found.items()}
    fastest = per_call[kernels().name]
    return {
        "op": name,
        "kind": kind,
        "rows": rows,
        "us": {side: seconds * 1e6 for side, seconds in per_call.items()},
        "gbytes_per_s": num_bytes / fastest / 1e9,
        "gflops_per_s": 2 * rows * num_outputs * num_inputs / fastest / 1e9,
        "vs_torch": per_call["torch"] / fastest,
        "vs_linear": per_call["linear"] / fastest,
    }


def _multiply_all(own: Kernels, x: Tensor, weights: list[Packed]) -> None:
    for packed in weights:
        own.linear(x, packed)


def bench_small(repeats: int) -> list[dict[str, Any]]:
    """Time what stands between the products, and attention."""
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        weight = torch.ones(HIDDEN, dtype=dtype)
        for rows in (1, 32, 512):
            x, gate_up = torch.randn(rows, HIDDEN).to(dtype), torch.randn(rows, 2 * MLP).to(dtype)
            found.append(_both("rms_norm", x, partial(_norm, weight=weight), repeats))
            found.append(_both("silu_mul", gate_up, lambda k, x: k.silu_mul(x), repeats))
        for sequences, num_new, context in ATTENTIONS:
            batch, pool = _batch(sequences, num_new, context), _pool(sequences, context, dtype)
            q = torch.randn(sequences * num_new, HEADS, HEAD_DIM).to(dtype)
            attend = partial(_attend, pool=pool, batch=batch)
            found.append(_both(f"attention {sequences}x({num_new} of {context})", q, attend, repeats))
    return found


def _norm(own: Kernels, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return own.rms_norm(x, weight, 1e-6)


def _attend(own: Kernels, q: Tensor, pool: Tensor, batch: RaggedBatch) -> Tensor:
    return own.paged_attention(q, pool, pool, batch, HEAD_DIM**-0.5)


def _both(op: str, x: Tensor, run: Callable[[Kernels, Tensor], object], repeats: int) -> dict[str, Any]:
    def ten_times(own: Kernels) -> None:
        for _ in range(10):
            run(own, x)

    sides: dict[str, Run] = {own.name: partial(ten_times, own) for own in (kernels(), kernels("torch"))}
    us = {side: seconds * 1e5 for side, seconds in medians_s(sides, repeats).items()}
    return {"op": op, "kind": str(x.dtype)[6:], "rows": len(x), "us": us, "vs_torch": us["torch"] / us[kernels().name]}


def _batch(sequences: int, num_new: int, context: int) -> RaggedBatch:
    width = -(-context // BLOCK)
    tables = [list(range(s * width, (s + 1) * width)) for s in range(sequences)]
    return RaggedBatch.build([num_new] * sequences, [context] * sequences, tables, BLOCK)


def _pool(sequences: int, context: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(sequences * -(-context // BLOCK), KV_HEADS, BLOCK, HEAD_DIM).to(dtype)


@dataclass
class Model:
    """A decoder of the 0.5 B Qwen2 shape with random weights, all layers and the output projection."""

    own: Kernels
    dtype: torch.dtype
    layers: list[DecoderLayer]
    lm_head: Packed

    @classmethod
    def random(cls, own: Kernels, kind: WeightKind) -> Model:
        """Draw the weights and pack them."""
        dtype = torch.float32 if kind == "float32" else torch.bfloat16

        def packed(name: str) -> Packed:
            num_outputs, num_inputs = LINEARS[name]
            return own.pack((torch.randn(num_outputs, num_inputs) * num_inputs**-0.5).to(dtype), kind)

        def layer() -> DecoderLayer:
            ones = torch.ones(HIDDEN, dtype=dtype)
            return DecoderLayer(
                ones, ones, packed("qkv"), packed("output"), packed("gate_up"), packed("down"), HEADS, KV_HEADS,
                HEAD_DIM, HEAD_DIM**-0.5, 1e-6, qkv_bias=torch.zeros(1152, dtype=dtype),
            )  # fmt: skip

        return cls(own, dtype, [layer() for _ in range(LAYERS)], packed("lm_head"))

    def step(self, sequences: int, num_new: int, context: int) -> Run:
        """Return one step of the model: every sequence gets `num_new` tokens, then its next token greedily."""
        batch = _batch(sequences, num_new, context)
        pools = [_pool(sequences, context, self.dtype) for _ in range(2 * LAYERS)]
        hidden = torch.randn(sequences * num_new, HIDDEN).to(self.dtype)
        angles = torch.randn(sequences * num_new, HEAD_DIM)
        last = batch.query_starts[1:].long() - 1

        def run() -> Tensor:
            out = self.own.decoder_layers(
                hidden, self.layers, pools[:LAYERS], pools[LAYERS:], angles.cos(), angles.sin(), batch
            )
            return self.own.argmax_linear(out[last], self.lm_head)

        return run


STEPS = {
    "decode B1 C128": (1, 1, 128),
    "decode B8 C128": (8, 1, 128),
    "decode B32 C128": (32, 1, 128),
    "decode B32 C512": (32, 1, 512),
    "prefill 512": (1, 512, 512),
}


def bench_model(
    kinds: list[WeightKind], names: list[Literal["native", "torch"]], repeats: int, machine: dict[str, float]
) -> list[dict[str, Any]]:
    """Time whole steps of the 0.5 B shape, and relate them to the machine's limits."""
    models = {(name, kind): Model.random(kernels(name), kind) for kind in kinds for name in names}
    found = []
    for step, shape in STEPS.items():
        sides = {f"{name} {kind}": model.step(*shape) for (name, kind), model in models.items()}
        tokens = shape[0] * shape[1]
        for side, seconds in medians_s(sides, repeats).items():
            kind = side.split()[1]
            limit = tokens / roofline_s(shape, kind, machine)
            found.append({"step": step, "kernels": side.split()[0], "kind": kind, "tokens_per_s": tokens / seconds,
                          "roofline_tokens_per_s": limit, "roofline_frac": tokens / seconds / limit})  # fmt: skip
    return found


def roofline_s(shape: tuple[int, int, int], kind: str, machine: dict[str, float]) -> float:
    """Return the least time a step can take: its weights read once, or its products at the fastest rate.

    Products of int8 weights are counted at twice the bf16 rate, as the processor's instructions promise.
    """
    sequences, num_new, context = shape
    block = sum(LINEARS[name][0] * LINEARS[name][1] for name in ("qkv", "output", "gate_up", "down")) * LAYERS
    head = LINEARS["lm_head"][0] * LINEARS["lm_head"][1]
    itemsize = {"float32": 4, "bfloat16": 2, "int8": 1}[kind]
    kv_bytes = 2 * LAYERS * sequences * context * KV_HEADS * HEAD_DIM * (4 if kind == "float32" else 2)
    flops = 2 * sequences * (num_new * block + head) + 4 * LAYERS * sequences * num_new * context * HEADS * HEAD_DIM
    rate = machine["float32_flops_per_s" if kind == "float32" else "bfloat16_flops_per_s"] * (
        2 if kind == "int8" else 1
    )
    return max(((block + head) * itemsize + kv_bytes) / machine["read_bytes_per_s"], flops / rate)


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=["ops", "model"])
    parser.add_argument("--kinds", default="bfloat16,int8")
    parser.add_argument("--kernels", default="native,torch", help="sets to compare in the model")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    kinds: list[WeightKind] = args.kinds.split(",")
    report: dict[str, Any] = {"kernels": kernels().name, "why": kernels().why, "threads": torch.get_num_threads()}
    report["limits"] = limits(args.repeats)
    if args.only != "model":
        report["linear"] = [
            bench_linear(name, kind, rows, args.repeats)
            for kind in kinds for name in LINEARS for rows in (1, 8, 32, 512)
            if (name, rows) != ("lm_head", 512)
        ]  # fmt: skip
        report["small"] = bench_small(args.repeats)
    if args.only != "ops":
        report["model"] = bench_model(kinds, args.kernels.split(","), args.repeats, report["limits"])
    print(json.dumps(report, indent=2) if args.json else as_text(report))


def as_text(report: dict[str, Any]) -> str:
    """Lay the report out for reading."""
    lines = [f"{report['kernels']} kernels, {report['threads']} threads"]
    lines += [f"  {name} {value / 1e9:.1f} G" for name, value in report["limits"].items()]
    for row in report.get("linear", []) + report.get("small", []):
        times = "  ".join(f"{side} {us:.1f} us" for side, us in row["us"].items())
        rates = f"{row['gbytes_per_s']:.1f} GB/s {row['gflops_per_s']:.0f} GFLOP/s" if "gbytes_per_s" in row else ""
        plain = f", x{row['vs_linear']:.2f} of F.linear" if "vs_linear" in row else ""
        lines.append(
            f"{row['op']} {row['kind']} rows={row['rows']}: {times}  {rates}  x{row['vs_torch']:.2f} of the twin{plain}"
        )
    for row in report.get("model", []):
        lines.append(
            f"{row['step']} {row['kernels']} {row['kind']}: {row['tokens_per_s']:.0f} tok/s, "
            f"{row['roofline_frac']:.0%} of the roofline's {row['roofline_tokens_per_s']:.0f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
