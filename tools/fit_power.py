"""Fit how much power accelerators draw at work, and write `power.toml`.

    python tools/fit_power.py MLENERGY SPLITWISE      # mlenergy_llm_runs.csv, splitwise_perf_power.csv.gz

H100 and B200: average watts of whole vLLM runs of the ML.ENERGY leaderboard; the time of a step is the batch over the
throughput, and prompts, whose lengths the table lacks, are taken to have 150 tokens. A100: Llama-2-70B of Splitwise,
with the average of a run as the power of its decodes (128 tokens each) and the peak as that of its prompts, and the
median over repeats. Even rows are fitted, odd rows test. Times are the measured ones, so that errors of prices
do not get into the fit.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from headway.core.errors import HeadwayError
from headway.sim.serving.cost import PowerModel, accelerator_facts, replica
from headway.sim.serving.cost.power import POWER
from headway.sim.serving.price import BatchShape, Chunk

PROMPT_TOKENS = 150
MEASURES = ("token_time", "prompt_time", "average_power", "peak_power")
BORROWED = {
    "a100-40gb-sxm": "a100-80gb-sxm", "a40": "a100-80gb-sxm", "a10": "a100-80gb-sxm", "l4": "a100-80gb-sxm",
    "l40s": "a100-80gb-sxm", "rtx-4090": "a100-80gb-sxm", "rtx-pro-6000": "b200-sxm", "h200-sxm": "h100-sxm",
    "mi300x": "h100-sxm",
}  # fmt: skip
Floats = npt.NDArray[np.float64]


class Measured(NamedTuple):
    """Shares of the peaks in use on an accelerator, and the watts it drew."""

    accelerator: str
    compute: float
    memory: float
    watts: float


class _Took:
    """A price that says what was measured."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def step_s(self, _shape: BatchShape) -> float:
        return self.seconds

    def decode_line(self, _num_decodes: int) -> tuple[float, float]:
        return self.seconds, 0.0


def measured(
    model: str, accelerator: str, tensor: int, weights: str, shape: BatchShape, s: float, watts: float
) -> Measured:
    """Work out what a step that took `s` seconds made use of."""
    price: Any = replica(model, accelerator, tensor_parallel=tensor, weights=weights, memory_frac=1.0).price
    return Measured(accelerator, *PowerModel(stage=price.stage, price=_Took(s)).utilisation(shape), watts)


def mlenergy(path: Path) -> Iterator[Measured]:
    """Read runs of models whose facts are known, in pure tensor parallelism."""
    for row in csv.DictReader(path.open()):
        tensor, batch, output = int(row["num_gpus"]), float(row["avg_batch_size"]), float(row["avg_output_len"])
        if row["tensor_parallel"] != row["num_gpus"]:
            continue
        prompts = (Chunk(max(1, int(batch / output * PROMPT_TOKENS)), 0),)
        shape = BatchShape(round(batch), int(batch * (PROMPT_TOKENS + output / 2)), prompts)
        weights = "fp8" if row["weight_precision"] == "fp8" else "bf16"
        accelerator = {"H100": "h100-sxm", "B200": "b200-sxm"}[row["gpu_model"]]
        took, watts = batch / float(row["output_throughput_tokens_per_sec"]), float(row["avg_power_watts"]) / tensor
        try:
            yield measured(row["model_id"], accelerator, tensor, weights, shape, took, watts)
        except HeadwayError:  # a model without facts here
            continue


def splitwise(path: Path) -> Iterator[Measured]:
    """Read decodes, then prompts, of the A100; 8,192 tokens exceed the model's context and ran for a moment only."""
    tdp = accelerator_facts("a100").tdp_watts
    with gzip.open(path, "rt") as lines:
        rows = [row for row in csv.DictReader(lines) if row["hardware"] == "a100-80gb" and float(row["average_power"])]
    repeats: dict[tuple[int, ...], list[list[float]]] = defaultdict(list)
    for row in rows:
        setting = tuple(int(row[key]) for key in ("batch_size", "prompt_size", "tensor_parallel", "token_size"))
        repeats[setting].append([float(row[key]) for key in MEASURES])
    for phase in (0, 1):
        for (batch, prompt, tensor, output), values in sorted(repeats.items()):
            if prompt > 4096:
                continue
            decodes = BatchShape(batch, batch * (prompt + output // 2))
            shape = BatchShape(0, 0, (Chunk(prompt, 0),) * batch) if phase else decodes
            took_ms, power = np.median(values, axis=0)[[phase, phase + 2]]
            watts = min(1.0, float(power)) * tdp
            yield measured("llama-2-70b", "a100-80gb-sxm", tensor, "bf16", shape, float(took_ms) / 1e3, watts)


def fit(rows: list[Measured]) -> tuple[Floats, Floats]:
    """Return the three shares of `PowerFit`, and relative errors on the odd rows."""
    on = accelerator_facts(rows[0].accelerator)
    compute, memory, watts = (np.array([getattr(row, key) for row in rows]) for key in ("compute", "memory", "watts"))
    prior = np.array([0.2, 0.7, 0.4])

    def predict(x: Floats) -> Floats:
        busy: Floats = np.minimum(1.0, x[0] + x[1] * np.sqrt(compute) + x[2] * memory)
        return on.idle_watts + (on.tdp_watts - on.idle_watts) * busy

    def gaps(x: Floats) -> Floats:
        return np.concatenate([np.log(predict(x) / watts)[::2], 0.3 * (x - prior)])

    best = least_squares(gaps, [0.15, 0.5, 0.3], loss="soft_l1", f_scale=0.1, bounds=(0, 5))
    return best.x, np.abs(predict(best.x) / watts - 1)[1::2]


def main() -> None:
    """Fit, print the errors, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mlenergy", type=Path)
    parser.add_argument("splitwise", type=Path)
    options = parser.parse_args()
    groups: dict[str, list[Measured]] = defaultdict(list)
    for row in (*splitwise(options.splitwise), *mlenergy(options.mlenergy)):
        groups[row.accelerator].append(row)
    lines = ["# Shares of the span from idle to design power, see `PowerFit`; written by tools/fit_power.py."]
    for name, rows in groups.items():
        shares, errors = fit(rows)
        median, p90 = np.median(errors), np.quantile(errors, 0.9)
        print(f"{name:14} median {median:5.1%}  p90 {p90:5.1%}  rows {len(errors)}  {shares}")
        lines += ["", f"[{name}]  # odd rows: median {median:.3f}, 90th percentile {p90:.3f} of {len(errors)}"]
        names = ("awake_frac", "compute_frac", "memory_frac")
        lines += [f"{key} = {value:.3g}" for key, value in zip(names, shares, strict=True)]
    for name, lender in BORROWED.items():
        lines += ["", f"[{name}]", f'borrow = "{lender}"']
    POWER.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
