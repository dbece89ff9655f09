"""vLLM with our policies against vLLM's own scheduler: real servers, real requests over HTTP, one run.

    python benchmarks/vllm_race.py [clock] [plain] [mixed] [--json] [--keep FILE]

`plain` is throughput without promises: vLLM's own scheduler against policies hosted inside it. `mixed` is the workload
of `examples/recipes/mixed-slo.toml`, scaled to a processor: how much load is carried while 90% of the promised requests
are within all their bounds, as their senders feel it. `clock` plays the recipe itself on vLLM's real schedulers without
a model, by the prices of its A100, which a busy machine cannot disturb. All by default; some twenty minutes on two
processors that do nothing else. With `--keep` what was measured is kept, and a race that was broken off goes on there.

Servers run with the interpreter named by `--python`, by default the running one; without vLLM there is nothing to race.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from race import machine
from vllm_race import by_clock, mixed, model, plain
from vllm_race.contenders import BASELINE, TUNED_TOKENS
from vllm_race.ledger import Ledger
from vllm_race.mixed import Mixed, Terms
from vllm_race.server import Garage, vllm_of
from vllm_race.workload import OUTPUT_SCALE, PROMPT_SCALE

PARTS = ("clock", "plain", "mixed")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="clock, plain, mixed; all by default")
    parser.add_argument("--only", default="", help="contenders, comma-separated; vllm is always among them")
    parser.add_argument("--rounds", type=int, default=3, help="of the plain part; 3")
    parser.add_argument("--plain-requests", type=int, default=96, help="in a round of the plain part; 96")
    parser.add_argument("--seeds", type=int, default=3, help="of the mixed part; 3")
    parser.add_argument("--requests", type=int, default=72, help="in a run of the mixed part, about; 72")
    parser.add_argument("--clock-seeds", type=int, default=5, help="of the part by the clock; 5")
    parser.add_argument("--clock-requests", type=int, default=200, help="in a run by the clock, about; 200")
    parser.add_argument("--fine", action="store_true", help="narrow the mixed part's loads down to steps of 15 %%")
    parser.add_argument("--data", type=Path, help="folder with the recorded traces; the shipped ones without")
    parser.add_argument("--compiled", action="store_true", help="let vLLM compile the model, which takes a minute each")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has vLLM; the running one")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep what was measured; go on from there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Race, and return all that was found."""
    flags = (*model.FLAGS, *(() if args.compiled else ("--enforce-eager",)))
    sizes = {name: getattr(args, name) for name in ("clock_requests", "plain_requests", "requests")}
    terms = {"flags": list(flags), **sizes, "recorded": args.data is not None, "tuned_tokens": TUNED_TOKENS}
    ledger, start_s = Ledger(args.keep, terms), time.perf_counter()
    garage = Garage(args.python, model.folder(), flags)
    found: dict[str, Any] = {}
    try:
        if "clock" in args.parts:
            names = _names(args.only, by_clock.NAMES)
            found["clock"] = by_clock.run(args.python, ledger, names, args.clock_seeds, args.clock_requests, args.data)
        if "plain" in args.parts:
            names = _names(args.only, plain.NAMES)
            found["plain"] = plain.run(garage, ledger, names, args.rounds, args.plain_requests)
        if "mixed" in args.parts:
            order = Terms(num_seeds=args.seeds, num_requests=args.requests, is_fine=args.fine, data=args.data)
            found["mixed"] = Mixed(garage, ledger, _names(args.only, mixed.NAMES), order).run()
    finally:
        garage.close()
    return {
        "benchmark": "vllm_race",
        "machine": machine.facts(1),
        "vllm": args.vllm,
        "model": model.facts(),
        "scale": {"prompts": PROMPT_SCALE, "outputs": OUTPUT_SCALE},
        "terms": {**terms, "seeds": args.seeds, "clock_seeds": args.clock_seeds, "rounds": args.rounds},
        "wall_s": time.perf_counter() - start_s,
        **found,
    }


def _names(only: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    asked = [name for name in only.split(",") if name and name != BASELINE]
    return (BASELINE, *asked) if asked else usual


def main() -> int:
    """Race and print the result."""
    args = arguments()
    args.parts = args.parts or list(PARTS)
    unknown = [part for part in args.parts if part not in PARTS]
    if unknown:
        raise SystemExit(f"vllm_race: parts must be of {', '.join(PARTS)}, got {unknown[0]}.")
    args.vllm = vllm_of(args.python)
    if not args.vllm:
        print(f"skipped: vllm is not installed in {args.python}. See benchmarks/README.md, or name another --python.")
        return 0
    found = run(args)
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    from rich.console import Console

    from vllm_race.table import show

    show(found, Console(width=150))
    return 0


if __name__ == "__main__":
    sys.exit(main())
