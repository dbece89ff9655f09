"""How fast serving is simulated, beside NVIDIA Dynamo's replay and a SimPy loop where they are installed.

Every run is a fresh process on one core; contenders take turns, figures are medians over the rounds, and ratios are
taken within a round. What is measured, and how peers are installed, is in `benchmarks/README.md`.

    python benchmarks/sim_speed.py [--trace azure-conv] [--requests 19366] [--runs 3] [--peer] [--json]
    python benchmarks/sim_speed.py --all --python dynamo=PATH --python simpy=PATH --out benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from race import machine
from simulators import score, trial
from simulators.case import Case

NUM_REQUESTS = 19_366
FLAT = "2000,20000,200000,1000000"
MAX_REPEATED = 200_000
"""Longer runs are done once."""
FLEET = 16
SWEEP_REQUESTS = 2_000
SWEEP_LOADS = tuple(0.5 + 0.25 * number for number in range(10))
STEP_REQUESTS = 640


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trace", default="azure-conv", help="a shipped trace or a file (default: azure-conv)")
    parser.add_argument("--requests", type=int, default=NUM_REQUESTS, help=f"requests (default: {NUM_REQUESTS})")
    parser.add_argument("--runs", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--accelerator", default="a100-80gb-sxm", help="what our replicas run on")
    parser.add_argument("--hashed", action="store_true", help="also prompts with hashes, none of them shared")
    parser.add_argument("--fleet", action="store_true", help="also 16 replicas behind a prefix-aware router")
    parser.add_argument("--sweep", action="store_true", help="also ten loads in one process")
    parser.add_argument("--steps", action="store_true", help="also a policy that sees every step of 64 requests")
    parser.add_argument("--flat", nargs="?", const=FLAT, default="", metavar="SIZES", help=f"also sizes such as {FLAT}")
    parser.add_argument("--peer", action="store_true", help="let peers take their turns too")
    parser.add_argument("--plain", action="store_true", help="also without compiled copies of our modules")
    parser.add_argument("--all", action="store_true", help="all of the above")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH", help="a contender's interpreter")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, help="write the JSON object to a file, too")
    args = parser.parse_args()
    if min(args.requests, args.runs) < 1:
        parser.error(f"--requests and --runs must be >= 1, got {args.requests} and {args.runs}")
    if args.all:
        args.hashed = args.fleet = args.sweep = args.steps = args.peer = args.plain = True
        args.flat = args.flat or FLAT
    return args


def cases(args: argparse.Namespace, folder: Path) -> list[Case]:
    """Say what is simulated."""
    plain = Case("one", args.trace, args.requests, accelerator=args.accelerator)
    few = min(SWEEP_REQUESTS, args.requests)
    chosen = [
        (True, plain),
        (args.hashed, replace(plain, name="hashed", prefixes="own")),
        (args.fleet, replace(plain, name="fleet", prefixes="shared", instances=FLEET)),
        (args.sweep, replace(plain, name="sweep", num_requests=few, loads=SWEEP_LOADS)),
        (args.steps, replace(plain, name="steps", num_requests=min(STEP_REQUESTS, args.requests), steps=True)),
        *((True, replace(plain, name=f"flat-{size}", num_requests=size)) for size in _sizes(args.flat)),
    ]
    return [replace(case, requests_file=str(folder / f"{case.name}.jsonl")) for is_wanted, case in chosen if is_wanted]


def _sizes(text: str) -> list[int]:
    try:
        found = sorted({int(word) for word in text.split(",") if word})
    except ValueError:
        found = [0]
    if found and found[0] < 1:
        raise SystemExit(f"--flat: must be numbers of requests >= 1, got {text!r}. Try {FLAT}.")
    return found


class Race:
    """Cases and contenders, and what they have shown."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.runs = args.runs
        self.pythons = trial.interpreters(args.python)
        self.cases = cases(args, folder)
        self.notes: list[str] = []
        self.peers = [trial.PLAIN] if args.plain else []
        self.peers += [peer for peer in trial.PEERS if self._is_here(peer)] if args.peer else []
        self.rounds: dict[str, dict[str, list[dict[str, Any]]]] = {case.name: {"headway": []} for case in self.cases}

    def run(self) -> None:
        """Let everyone take turns; whoever is first changes from round to round."""
        for case in self.cases:
            if case.prefixes != "none" or any(case.name in peer.cases for peer in self.peers):
                trial.run("requests_file.py", self.pythons["headway"], case)
        for number in range(self.runs):
            for case in self.cases:
                if number and case.num_requests > MAX_REPEATED:
                    continue
                turns = [trial.HEADWAY, *(peer for peer in self.peers if case.name in peer.cases)]
                for simulator in turns[number % len(turns) :] + turns[: number % len(turns)]:
                    self._turn(simulator, case, number)

    def _turn(self, simulator: trial.Simulator, case: Case, number: int) -> None:
        _say(f"round {number + 1} of {self.runs}: {case.name}, {simulator.name}")
        given = replace(case, num_requests=min(case.num_requests, simulator.max_requests))
        try:
            found = trial.run(simulator.script, self.pythons[simulator.name], given, simulator.environment)
        except trial.TrialFailed as failure:
            if simulator in (trial.HEADWAY, trial.PLAIN):
                raise SystemExit(f"sim_speed: {case.name} failed: {failure}") from None
            self._note(f"{simulator.name} failed at {case.name}: {failure}")
        else:
            self.rounds[case.name].setdefault(simulator.name, []).append(found)
            if simulator is trial.HEADWAY and not found["compiled"]:
                self._note("headway ran without its compiled copies, at a third of its speed. Try: make fast")

    def _is_here(self, peer: trial.Simulator) -> bool:
        python = self.pythons[peer.name]
        if not trial.is_present(peer, python):
            self._note(f"{peer.name} is skipped: {peer.module} is not installed in {python}. Try: {peer.pip}")
            return False
        return True

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            _say(text)

    def report(self) -> dict[str, Any]:
        """Sum up."""
        found = {case: {name: score.summary(each) for name, each in by.items()} for case, by in self.rounds.items()}
        ours = {case: by["headway"] for case, by in found.items()}
        for case, by in self.rounds.items():
            if not score.same_result(by):
                self._note(f"{case}: our rounds did not all come to the same result")
        head = {name: ours["one"][name] for name in ("requests_per_s", "output_tokens_per_s", "peak_rss_mb", "wall_s")}
        return {
            **head,
            "benchmark": "sim_speed",
            "machine": machine.facts(1),
            "bars": score.bars(ours),
            "ratios": {case: score.ratios(by) for case, by in self.rounds.items() if len(by) > 1},
            "cases": found,
            "notes": self.notes,
        }


def show(report: dict[str, Any]) -> None:
    """Print the tables."""
    print(
        f"{'case':<14}{'simulator':<10}{'requests/s':>11}{'(per CPU s)':>12}{'tokens/s':>11}{'wall s':>8}{'MB':>6}"
        f"{'present':>9}{'spin ns':>8}"
    )
    for case, by in report["cases"].items():
        for name, row in by.items():
            present = fmean(facts["mean_present"] for facts in row["simulated"])
            print(
                f"{case:<14}{name:<10}{row['requests_per_s']:>11,.0f}{row['requests_per_cpu_s']:>12,.0f}"
                f"{row['output_tokens_per_s']:>11,.0f}{row['wall_s']:>8.2f}{row['peak_rss_mb']:>6.0f}"
                f"{present:>9,.0f}{row['spin_ns']:>8.1f}"
                + (f"   {row['steps_per_s']:,.0f} steps/s" if "steps_per_s" in row else "")
            )
    facts = report["cases"]["one"]["headway"]["simulated"][0]
    print("simulated in `one`: " + ", ".join(f"{name} {value:.3g}" for name, value in facts.items()))
    for case, by in report["ratios"].items():
        for name, row in by.items():
            print(f"{case}: headway over {name}: " + ", ".join(f"{k} {value:.2f}" for k, value in row.items()))
    for bar in report["bars"]:
        verdict = "met" if bar["met"] else "missed"
        print(f"{verdict:<7}{bar['case']} {bar['figure']} {bar['target']}: {bar['measured']:,.4g}")
    for note in report["notes"]:
        print(note)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run the benchmark and print it."""
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        race = Race(args, Path(folder))
        race.run()
        report = race.report()
    if args.out:
        args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if args.json:
        print(json.dumps(report))
    else:
        show(report)


if __name__ == "__main__":
    main()
