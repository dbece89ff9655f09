"""Real vLLM on this machine against virtual time: calibrate, serve a trace, play the same trace, compare.

vLLM runs in an environment of its own (`--python`), under its own scheduler and its own defaults (`vllm` in the table),
and under policies of ours that decide inside it. Its scheduler logs what every step computes and how long it takes.
Prices are fitted to the steps of bursts, which are sent before and after each run, and scaled to the speed that the
machine had around the run. The requests of a run, at the times at which they really left, are then played in virtual
time: `serving/vllm-v1` stands for vLLM's own scheduler, a hosted policy for itself. The memory has as many blocks as
vLLM found. What is compared is what the client saw, over HTTP; what a request that was alone took outside of steps is
added to what was played.

A second comparison asks about decisions alone: requests come when they came to vLLM's scheduler, and each step takes as
long as the live one that began then. Where the world and vLLM agree, all steps are the same.

Lengths and gaps are those of a trace, all lengths scaled down, at shares of the capacity that vLLM's own scheduler has
in virtual time; above 1 the queue grows until the last request has been sent. Every measured piece is kept in the
folder `--keep`, and what is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fidelity import live_score, stand_in
from fidelity.vllm_runs import OWN, Measuring, Traffic
from fidelity.vllm_server import Setup
from fidelity.vllm_twin import at_level, calibration_of, capacity_per_s, compare, twin
from headway.sim.serving.cost.fitted import Calibration
from headway.traces import reshape
from race.machine import facts

SHAPE = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 4,
    "intermediate_size": 3072, "vocab_size": 2048,
}  # fmt: skip
"""105 M weights: a step takes 10 ms and more on one thread."""
POLICIES = "vllm,serving/vllm-v1,serving/sarathi"
LOADS = "0.4,0.7,0.9,1.1,1.3"
HOSTED_LOADS = "0.7,1.3"
SATURATED = 400
"""Requests by which the capacity is found."""
TARGETS = {"p50_tpot_s": 0.03, "p50_e2e_s": 0.03, "p50_ttft_s": 0.10}
"""Of runs below saturation."""
KINDS = {"errors": "virtual / live - 1", "errors_inside": "inside, steps as long as live"}
COLUMNS = (
    *(f"p{percent}_{metric}" for percent in live_score.PERCENTS for metric in live_score.METRICS),
    "tokens_per_s",
)


def add(subparsers: Any) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser("vllm", help="real vLLM on this machine")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--python", default=sys.executable, help="interpreter of an environment that has vLLM")
    parser.add_argument("--policies", default=POLICIES, help=f"separated by commas; {POLICIES}")
    parser.add_argument("--loads", default=LOADS, help=f"shares of the capacity; {LOADS}")
    parser.add_argument("--hosted-loads", default=HOSTED_LOADS, help=f"of policies inside vLLM; {HOSTED_LOADS}")
    parser.add_argument("--seconds", type=float, default=32.0, help="how long requests are sent in one run; 32")
    parser.add_argument("--calibrate-s", type=float, default=5.0, help="of bursts, before and after each run; 5")
    parser.add_argument("--threads", type=int, default=1, help="of vLLM's arithmetic; 1")
    parser.add_argument("--max-seqs", type=int, default=32, help="the most requests that run at once; 32")
    parser.add_argument("--max-batched-tokens", type=int, default=2048, help="of one step; 2048, vLLM's for CPUs")
    parser.add_argument("--context", type=int, default=1024, help="longest prompt plus output; 1024")
    parser.add_argument("--kv-gib", type=int, default=1, help="memory for keys and values, in GiB; 1")
    parser.add_argument("--model", type=Path, help="a checkpoint with a tokenizer, instead of a random one")
    parser.add_argument("--trace", default="azure-conv", help="a shipped trace or a file; azure-conv")
    parser.add_argument("--scale", type=float, default=0.125, help="of the trace's lengths; 0.125")
    parser.add_argument("--seed", type=int, default=0, help="of bursts and of where in the trace runs begin; 0")
    parser.add_argument("--keep", type=Path, help="keep what was measured in this folder, and use what is there")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Calibrate, serve, play, compare."""
    about = facts(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (args.keep or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        comparison = Comparison(args, folder)
        rows = [row for policy in args.policies.split(",") for row in comparison.rows(policy)]
    return {
        "benchmark": "fidelity/vllm",
        "machine": about,
        "settings": comparison.facts,
        "capacity_per_s": comparison.capacity_per_s(),
        "targets": TARGETS,
        "calibration": comparison.calibrations,
        "summary": summary(rows),
        "runs": rows,
    }


class Comparison:
    """All runs, and what they share."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self._args = args
        self._folder = folder
        self._traffic = Traffic(args.trace, args.scale, args.context, args.seed)
        sizes = {"model-len": args.context, "num-seqs": args.max_seqs, "num-batched-tokens": args.max_batched_tokens}
        flags = [word for name, size in sizes.items() for word in (f"--max-{name}", str(size))]
        room = {"VLLM_CPU_KVCACHE_SPACE": str(args.kv_gib), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        self._setup = Setup(args.python, args.model or stand_in.checkpoint(SHAPE), args.threads, flags, room)
        self.calibrations: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}

    def rows(self, policy: str) -> list[dict[str, Any]]:
        """Measure one scheduler, and compare."""
        measuring, loads = self._measuring(policy), self._loads(policy)
        measuring.measure(loads, self._traffic, self.capacity_per_s, self._args.seconds)
        bursts = measuring.bursts(*loads)
        calibration = calibration_of(bursts, self._args.threads)
        self.facts = bursts[0].log.facts
        busy = max(piece.others_busy_frac for piece in bursts)
        said = {"price": msgspec.to_builtins(calibration.price), "errors": calibration.errors}
        self.calibrations[policy] = said | {"overheads": calibration.overheads, "others_busy_frac": busy}
        return [self._row(measuring, calibration, load) for load in loads]

    def _row(self, measuring: Measuring, calibration: Calibration, load: float) -> dict[str, Any]:
        piece = measuring.piece(f"load-{load:g}")
        assert piece is not None
        now, slower = at_level(calibration, measuring.bursts(load))
        return compare(now, measuring.name, measuring.params, load, piece) | {"slower": slower}

    def _loads(self, policy: str) -> list[float]:
        words = self._args.loads if policy == OWN else self._args.hosted_loads
        return [float(word) for word in words.split(",")]

    def capacity_per_s(self) -> float:
        """Return what 100 % of load is; found once, from the first bursts, and kept."""
        file = self._folder / "capacity.json"
        if file.is_file():
            return float(json.loads(file.read_text()))
        policy = self._args.policies.split(",")[0]
        bursts = self._measuring(policy).bursts(*self._loads(policy))
        calibration, found = calibration_of(bursts, self._args.threads), bursts[0].log.facts
        table = reshape.head(self._traffic.table(), SATURATED)
        capacity = capacity_per_s(twin(calibration, OWN, {}, found), table)
        file.write_text(json.dumps(capacity))
        return capacity

    def _measuring(self, policy: str) -> Measuring:
        args = self._args
        known = {"max_batched_tokens": args.max_batched_tokens, "max_seqs": args.max_seqs}
        params = {"serving/vllm-v1": known, "serving/sarathi": {"max_seqs": args.max_seqs}}.get(policy, {})
        return Measuring(self._setup, self._folder, policy, params, args.calibrate_s, args.seed)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the median and the worst error, below capacity and past it."""
    noise = max(row["others_busy_frac"] for row in rows)
    found: dict[str, Any] = {"others_busy_frac": noise, "is_quiet": noise <= live_score.QUIET_FRAC}
    for side, is_below in (("below", True), ("past", False)):
        those = [row for row in rows if (row["load_frac"] < 1) is is_below]
        if those:
            found[side] = {column: _spread([row["errors"][column] for row in those]) for column in COLUMNS}
    return found


def _spread(errors: Sequence[float]) -> dict[str, float]:
    off = np.abs(errors)
    return {"median": float(np.median(off)), "worst": float(off.max())}


def show(found: dict[str, Any]) -> None:
    """Print tables."""
    for key, title in KINDS.items():
        print(f"{title:30}{_head()}   price    same  others")
        for row in found["runs"]:
            share = f"{row['steps_inside']['same_frac']:8.1%}{row['others_busy_frac']:8.1%}"
            cells = "".join(f"{row[key][name]:+10.1%}" for name in COLUMNS)
            print(f"{_name(row)}{cells}{row['steps']['total_frac']:+8.1%}{share}")
    print(f"{'live, in seconds':30}{_head()}")
    for row in found["runs"]:
        print(_name(row) + "".join(f"{row['live'][name]:10.4g}" for name in COLUMNS))
    for name, off in found["summary"].get("below", {}).items():
        if name in TARGETS:
            said = f"worst {off['worst']:.1%}, median {off['median']:.1%}; target {TARGETS[name]:.0%}"
            print(f"{name}, below capacity: {said}")
    if not found["summary"]["is_quiet"]:
        print(
            f"Other work took more than {live_score.QUIET_FRAC:.0%} of the processors: only the second table says much."
        )


def _head() -> str:
    return "".join(f"{name.removesuffix('_s'):>10}" for name in (*COLUMNS[:-1], "tokens/s"))


def _name(row: dict[str, Any]) -> str:
    return f"{row['policy']:20}{row['load_frac']:6.0%}    "
