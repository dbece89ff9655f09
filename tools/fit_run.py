"""Fit an accelerator's efficiencies to one recorded run of a server, where no kernels were measured on it.

A server logs, second by second, how many requests run, how full its KV memory is, and the tokens in and out. That
makes a number of equal steps, whose price times their number should be one second. Fitted are the shares of the peaks
that products and decode attention reach, and how long kernels take to start; the rest stays borrowed. The first half is
fitted, the second tests.

Logs count a prompt once. Where KV memory is full, requests are preempted and computed again, which no log shows: such a
second may well be longer than its price, but not shorter, and being longer weighs a tenth in the fit. They do not test.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import asdict, replace
from scipy.optimize import least_squares

from headway.sim.serving.cost import Efficiency, replica
from headway.sim.serving.cost.efficiency import efficiency
from headway.sim.serving.price import BatchShape, Chunk

Floats = npt.NDArray[np.float64]
MOST = (1.0, 1.1, 1.0)
"""Bounds of the shares: of bandwidth, of arithmetic (clocks can exceed what a data sheet counts with), of bandwidth."""
FULL = 95.0
"""Percent of KV memory from which on requests may be preempted."""


class Second(NamedTuple):
    """What one second of a run did."""

    num_decodes: float
    context_tokens: float
    output_tokens: float
    prompt_tokens: float
    may_hide_work: bool


def seconds_of(run: Path) -> list[Second]:
    """Read a server's log; seconds in which few requests run, or many come and go, are left out."""
    meta = json.loads(Path(f"{run}.meta.json").read_text())
    kv_tokens = meta.get("kv_cache", {}).get("num_kv_tokens", 0)
    with Path(f"{run}.timeseries.csv").open() as lines:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    found = []
    for before, row in pairwise(rows):
        running = (before["running"] + row["running"]) / 2
        full = (before["kv_cache_pct"] + row["kv_cache_pct"]) / 200 * kv_tokens
        context = full or _context_tokens(run, row["t"] - 0.5)
        if running >= 4 and abs(before["running"] - row["running"]) <= 0.15 * running:
            found.append(
                Second(running, context, row["gen_throughput"], row["prompt_throughput"], row["kv_cache_pct"] > FULL)
            )
    return found


def _context_tokens(run: Path, at_s: float) -> float:
    """Return the tokens in memory at a moment, from the requests' own times; true as long as nobody is preempted."""
    first, last, prompt, output = _requests(run)
    inside = (first <= at_s) & (at_s < last)
    return float((inside * (prompt + output * (at_s - first) / (last - first))).sum())


@cache
def _requests(run: Path) -> Floats:
    with gzip.open(f"{run}.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    columns = ("first_token_s", "last_token_s", "input_tokens", "output_tokens")
    return np.array([[row[name] for row in rows] for name in columns], dtype=np.float64)


def took_s(second: Second, model: str, accelerator: str, fits: Efficiency) -> float:
    """Return what a second of a run should take."""
    price = replica(model, accelerator, max_batched_tokens=2048, efficiency_fit=fits).price
    steps = second.output_tokens / second.num_decodes
    base_s, token_s = price.decode_line(round(second.num_decodes))
    step_s = base_s + token_s * second.context_tokens
    if second.prompt_tokens >= 1:
        alone = BatchShape(round(second.num_decodes), int(second.context_tokens))
        per_step = max(1, round(second.prompt_tokens / steps))
        with_prompt = replace(alone, chunks=(Chunk(per_step, per_step // 2),))
        step_s += price.step_s(with_prompt) - price.step_s(alone)
    return steps * step_s


def fit_run(run: Path, model: str, accelerator: str, lender: str) -> list[tuple[str, dict[str, Any]]]:
    """Return fits of products, decode attention and the rest of a layer, with errors of the second half's seconds."""
    seconds, lent = seconds_of(run), efficiency(lender)
    half = len(seconds) // 2
    tested = [second for second in seconds[half:] if not second.may_hide_work]
    hiding = np.array([second.may_hide_work for second in seconds[:half]])
    start = np.array([2.0, 1.2, 1.4, np.log(0.6)])

    def gaps(x: Floats, part: Sequence[Second]) -> Floats:
        return np.log([took_s(second, model, accelerator, _made(lent, x)) for second in part])

    def anchored(x: Floats) -> Floats:
        found = gaps(x, seconds[:half])
        return np.concatenate([np.where(hiding & (found < 0), 0.1, 1.0) * found, 0.3 * (x - start)])

    best = least_squares(anchored, start, loss="soft_l1", f_scale=0.1, diff_step=0.02).x
    gap = np.abs(np.expm1(gaps(best, tested)))
    errors = {"median": float(np.median(gap)), "p90": float(np.quantile(gap, 0.9)), "rows": len(gap)}
    made = _made(lent, best)
    found = {"gemm.bf16": made.gemm["bf16"], "decode.bf16": made.decode["bf16"], "elementwise": made.elementwise}
    return [(name, {"fit": asdict(fit), "errors": errors}) for name, fit in found.items()]


def _made(lent: Efficiency, x: Floats) -> Efficiency:
    """Put the numbers in: shares of the peaks stay below `MOST`, and one factor is on all that is fixed."""
    memory, compute, reads = (
        round(float(most / (1 + np.exp(-value))), 3) for most, value in zip(MOST, x[:3], strict=True)
    )
    fixed = float(f"{np.exp(x[3]):.3g}")
    gemm, decode, rest = lent.gemm["bf16"], lent.decode["bf16"], lent.elementwise
    products = replace(gemm, memory_frac=memory, compute_frac=compute, fixed_s=gemm.fixed_s * fixed)
    return replace(
        lent,
        gemm={"bf16": products},
        decode={"bf16": replace(decode, memory_frac=reads, fixed_s=decode.fixed_s * fixed)},
        elementwise=replace(rest, fixed_s=rest.fixed_s * fixed),
    )
