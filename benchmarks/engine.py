"""Speed of Headway's engine beside its peers: decode and prefill of one model, in tokens per second.

Every contender runs the same random checkpoint in a process of its own, with the same number of threads, greedily and
past every end-of-sequence token. The rounds are interleaved; figures are medians, ratios are taken within a round.
What is measured, and how peers are installed, is in `benchmarks/README.md`.

    python benchmarks/engine.py [--json] [--model half] [--only headway,transformers] [--python vllm=/path/to/python]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from peers.window import SETTLE_STEPS, Point, Spec
from race import machine, roofline, roster, score
from race.checkpoint import SHAPES
from race.lap import environment
from race.rounds import race

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headway" / "bench"
CHECKPOINT = Path(__file__).parent / "race" / "checkpoint.py"
POINTS = "b1c128,b8c128,b32c128,b32c512,p512"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="half", help="small (125 M), half (0.5 B) or the folder of a checkpoint")
    parser.add_argument(
        "--points", default=POINTS, help="bBcC decodes B sequences around C tokens, pN prefills N tokens"
    )
    parser.add_argument("--runs", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--windows", type=int, default=3, help="samples per point and round")
    parser.add_argument("--steps", type=int, default=12, help="decode steps per sample")
    parser.add_argument("--only", default="", help="contenders, comma-separated")
    parser.add_argument(
        "--quantize", default="", choices=["", "none", "int8"], help="contenders of one kind of weights"
    )
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH", help="a peer's interpreter")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--verbose", action="store_true", help="show what the contenders say")
    return parser.parse_args()


def parse_points(text: str) -> list[Point]:
    """Turn ``b8c128,p512`` into points."""
    found = []
    for name in filter(None, text.split(",")):
        match = re.fullmatch(r"b([1-9]\d*)c([1-9]\d*)|p([1-9]\d*)", name)
        if match is None:
            raise SystemExit(f"--points: must be like b8c128 or p512, got {name!r}.")
        batch, context, prompt = match.groups()
        found.append(Point(name, int(batch or 0), int(context or prompt)))
    if not found:
        raise SystemExit("--points: must name at least one point. Try b8c128.")
    return found


def checkpoint(model: str) -> Path:
    """Return the folder of the model, writing a random one once."""
    if model not in SHAPES:
        if not (Path(model) / "config.json").exists():
            raise SystemExit(f"--model: must be {', '.join(SHAPES)} or a folder with config.json, got {model!r}.")
        return Path(model).resolve()
    folder = CACHE / model
    if not (folder / "config.json").exists():
        print(f"writing the {model} checkpoint to {folder}", file=sys.stderr)
        subprocess.run([sys.executable, str(CHECKPOINT), model, str(folder)], check=True)
    return folder


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run everything that was asked for and return the report."""
    entrants, pythons = roster.chosen(args.only, args.quantize), roster.interpreters(args.python)
    points, folder = parse_points(args.points), checkpoint(args.model)
    config = json.loads((folder / "config.json").read_text())
    shape = roofline.Shape(config)
    spec = Spec(str(folder), "", points, args.threads, args.windows, args.steps, shape.vocab_size, 0, str(CACHE))
    about, env = machine.facts(args.threads), environment(args.threads)
    before = machine.limits(pythons["headway"], args.threads, env)
    records = race(entrants, pythons, spec, args.runs, args.verbose)
    after = machine.limits(pythons["headway"], args.threads, env)
    limits = {name: max(before[name], after[name]) for name in before}
    tops = {
        kind: {p.name: roofline.tokens_per_s(shape, p.batch, p.context, kind, limits) for p in points}
        for kind in dict.fromkeys(entrant.kind for entrant in entrants)
    }
    between, fracs = score.ratios(records), score.roofline_fracs(records, tops)
    return {
        "benchmark": "engine",
        "machine": {**about, **limits, "limits_before": before, "limits_after": after},
        "model": {"name": args.model, "weights": shape.block_weights + shape.head_weights, "config": config},
        "method": {"rounds": args.runs, "windows": args.windows, "steps": args.steps, "settle_steps": SETTLE_STEPS},
        "points": [point.name for point in points],
        "contenders": {record.entrant.name: score.summary(record) for record in records},
        "roofline_tokens_per_s": tops,
        "roofline_frac": fracs,
        "ratios": between,
        "bars": score.bars(between, fracs, score.noise(records)) if args.model == "half" else [],
    }


def main() -> None:
    """Run the benchmark and print it."""
    args = arguments()
    report = run(args)
    if args.json:
        print(json.dumps(report, indent=2))
        return
    from rich.console import Console

    from race.table import show

    show(report, Console(width=150))


if __name__ == "__main__":
    main()
