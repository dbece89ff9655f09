"""The live engine on this machine against virtual time: calibrate, serve a trace, play the same trace, compare.

The client's times are compared, over HTTP and with all that lies between: our load generator sends on schedule and
notes when each request left and when its tokens came. Virtual time plays the requests at the very times at which they
left, with the prices of a calibration that has seen none of them, and adds what the calibration found a request to take
outside of steps. The calibration is one for all runs, measured in turns with them: the speed of a machine drifts.
Nothing is fitted to the runs that are compared; beside that, and said so, each run is played with prices fitted to its
own steps, which tells errors of prices (and of a machine that is faster or slower by then) from errors of the world.

Prompts are random tokens and outputs have fixed lengths, decoded greedily; the engine computes on one thread, so that
API and load generator have a core of their own. Loads are shares of each policy's capacity: what it serves in virtual
time when all requests are there at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fidelity import live_score, stand_in
from fidelity.virtual import Twin
from headway.app.bench.answer import Answer
from headway.app.calibrate.asking import Asker
from headway.app.calibrate.calibration import Order, calibration_of, measure
from headway.app.calibrate.fit import errors as step_errors
from headway.app.calibrate.recording import Recording, read_recording
from headway.app.calibrate.server import serving
from headway.app.calibrate.steps import MeasuredStep
from headway.app.cli.calibrate import save
from headway.sim.serving.cost.fitted import Calibration
from headway.traces.table import RequestTable
from race.machine import facts

POLICIES = "serving/orca,serving/vllm,serving/sarathi"
LOADS = "0.4,0.7,0.9"
show = live_score.show


@dataclass
class Rig:
    """What all runs share, and what the calibration has measured so far."""

    model: Path
    threads: int
    seconds: float
    seed: int
    folder: Path
    recording: Recording | None = None
    answers: list[Answer] = field(default_factory=list)

    def calibrate(self, measure_s: float, turn: int) -> Calibration:
        """Measure for a while longer, and fit all that was measured."""
        order = Order(flags=flags(self.model), threads=self.threads, measure_s=measure_s, seed=turn)
        recording, answers = measure(order)
        self.recording = recording if self.recording is None else self.recording + recording
        self.answers += answers
        return self.calibration

    @property
    def calibration(self) -> Calibration:
        """What all that was measured comes to."""
        assert self.recording is not None
        return calibration_of(self.recording, self.answers, self.threads)


@dataclass(frozen=True)
class Run:
    """One run: who decided, how fast requests came, and what became of them."""

    policy: str
    load_frac: float
    rate_per_s: float
    answers: list[Answer]
    steps: list[MeasuredStep]


def add(subparsers: Any) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser("live", help="the live engine on this machine")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--policies", default=POLICIES, help=f"separated by commas; {POLICIES}")
    parser.add_argument("--loads", default=LOADS, help=f"shares of each policy's capacity; {LOADS}")
    parser.add_argument("--seconds", type=float, default=24.0, help="how long requests are sent in one run; 24")
    parser.add_argument("--minutes", type=float, default=0.75, help="how long to calibrate; 0.75")
    parser.add_argument("--threads", type=int, default=1, help="of the engine's arithmetic; 1")
    parser.add_argument("--model", type=Path, help="a checkpoint with a tokenizer, instead of a random one")
    parser.add_argument("--seed", type=int, default=0, help="of lengths and times; 0")
    parser.add_argument("--keep", type=Path, help="keep recordings and the calibration in this folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Calibrate, serve, play, compare."""
    about, policies = facts(args.threads), args.policies.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        rig = Rig(
            args.model or stand_in.checkpoint(), args.threads, args.seconds, args.seed, args.keep or Path(scratch)
        )  # fmt: skip
        rig.folder.mkdir(parents=True, exist_ok=True)
        runs, shared = list[Run](), dict[str, float]()
        for turn, policy in enumerate(policies):
            noise = Noise()
            tell("calibrating")
            calibration = rig.calibrate(60 * args.minutes / len(policies), turn)
            runs += asyncio.run(serve(rig, Twin(calibration, policy), [float(word) for word in args.loads.split(",")]))
            shared[policy] = noise.others_busy_frac()
        calibration = rig.calibration
        save(calibration, rig.folder / "calibration.toml")
        rows = [compare(calibration, run) for run in runs]
    return {
        "benchmark": "fidelity/live",
        "machine": about,
        "others_busy_frac": shared,
        "calibration": {"errors": calibration.errors, "overheads": calibration.overheads},
        "targets": {f"p{percent}": target for percent, target in live_score.TARGETS.items()},
        "summary": live_score.summary(rows, max(shared.values())),
        "runs": rows,
    }


def flags(model: Path) -> tuple[str, ...]:
    """Return what every server is started with."""
    return (str(model), "--kv-memory", "512MiB", "--max-seqs", "64")


async def serve(rig: Rig, twin: Twin, loads: list[float]) -> list[Run]:
    """Serve all loads with one server; they are shares of the capacity that a policy has in virtual time."""
    policy, capacity_per_s = twin.policy, twin.capacity_per_s(rig.seed)
    path = rig.folder / f"{policy.replace('/', '-')}.jsonl"
    answers: list[list[Answer]] = []
    with serving([*flags(rig.model), "--policy", policy], path, rig.threads) as server:
        asker = await Asker.of(server.url)
        for load in loads:
            tell(f"{policy} at {load:.0%} of {capacity_per_s:.1f} requests/s")
            plan = stand_in.plan(f"{policy}-{load}", load * capacity_per_s, rig.seconds, rig.seed)
            answers.append(sorted(await asker.ask(plan), key=lambda answer: answer.sent_s))
        await asker.close()
    recorded = read_recording(path)
    return [
        Run(policy, load, load * capacity_per_s, mine, steps_between(recorded, mine))
        for load, mine in zip(loads, answers, strict=True)
    ]


def compare(calibration: Calibration, run: Run) -> dict[str, Any]:
    """Play what was sent, and hold what clients felt against it."""
    mine, twin = run.answers, Twin(calibration, run.policy)
    table = RequestTable(
        np.array([answer.sent_s - mine[0].sent_s for answer in mine]),
        np.array([answer.input_tokens for answer in mine]),
        np.array([answer.output_tokens for answer in mine]),
    )
    virtual, known = twin.felt(table), twin.with_prices_of(run.steps).felt(table)
    live = {metric: np.array([getattr(answer, metric) for answer in mine]) for metric in live_score.METRICS}
    return {
        "policy": run.policy,
        "load_frac": run.load_frac,
        "rate_per_s": run.rate_per_s,
        "num_requests": len(mine),
        "num_silent": sum(len(answer.itls_s) + 1 < answer.output_tokens for answer in mine),
        "live": live_score.percentiles(live),
        "virtual": live_score.percentiles(virtual),
        "errors": live_score.errors(virtual, live),
        "errors_with_own_prices": live_score.errors(known, live),
        "median_request_error": live_score.request_errors(virtual, live),
        "steps": step_errors(calibration.price, run.steps),
    }


def steps_between(recorded: Recording, answers: list[Answer]) -> list[MeasuredStep]:
    """Return the steps of one run, those of the same server's other runs left out."""
    sent = [recorded.sent[f"{answer.answer_id}-0"] for answer in answers]
    first_s, last_s = min(one.arrival_s for one in sent), max(one.last_s for one in sent)
    return [step for step in recorded.steps if first_s <= step.at_s <= last_s]


class Noise:
    """Tells which share of the processors other work takes."""

    def __init__(self) -> None:
        self._begin = self._now()

    def others_busy_frac(self) -> float:
        """Return the share since the beginning; our own processes must have ended."""
        busy_s, idle_s, own_s = (now - then for now, then in zip(self._now(), self._begin, strict=True))
        return max(0.0, busy_s - own_s) / max(busy_s + idle_s, 1e-9)

    @staticmethod
    def _now() -> tuple[float, float, float]:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        per_s, idle, own = os.sysconf("SC_CLK_TCK"), ticks[3] + ticks[4], os.times()
        return (sum(ticks) - idle) / per_s, idle / per_s, sum(own[:4])


def tell(what: str) -> None:
    """Say on standard error what is being done."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr)
