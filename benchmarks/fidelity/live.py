"""The live engine on this machine against virtual time: calibrate, serve a trace, play the same trace, compare.

The client's times are compared, over HTTP and with all that lies between: our load generator sends on schedule and
notes when each request left and when its tokens came. Virtual time plays the requests at the very times at which they
left, with the prices of a calibration that has seen none of them, and adds what the calibration found a request to take
outside of steps. Nothing is fitted to the runs that are compared.

Prompts are random tokens and outputs have fixed lengths, decoded greedily; the engine computes on one thread, so that
API and load generator have a core of their own. Loads are shares of each policy's capacity: what it serves in virtual
time when all requests are there at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headway.app.bench.answer import Answer
from headway.app.bench.arrivals import arrivals
from headway.app.bench.load import Planned
from headway.app.calibrate.asking import Asker
from headway.app.calibrate.calibration import Order, calibrate
from headway.app.calibrate.fit import errors as step_errors
from headway.app.calibrate.recording import Recording, read_recording
from headway.app.calibrate.server import serving
from headway.app.cli.calibrate import save
from headway.app.cli.shipped import shipped_folder
from headway.core import catalogue
from headway.core.scenario import Outcome
from headway.sim.serving.cost.fitted import Calibration
from headway.sim.serving.recipe import FleetSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.spec import TraceSpec
from headway.traces.table import RequestTable
from headway.traces.writers import write_requests
from race.checkpoint import write
from race.machine import facts

POLICIES = "serving/orca,serving/vllm,serving/sarathi"
LOADS = "0.4,0.7,0.9"
METRICS = ("ttft_s", "tpot_s", "e2e_s")
PERCENTS = (50, 90)
TARGETS = {50: 0.05, 90: 0.10}
SHAPE = {
    "hidden_size": 512, "num_hidden_layers": 16, "num_attention_heads": 8, "num_key_value_heads": 2,
    "intermediate_size": 2048, "vocab_size": 2048,
}  # fmt: skip
"""57 M weights: a step takes milliseconds, and a request a few tens of them."""
MAX_SEQS = 64
SATURATED = 400
"""Requests by which a policy's capacity is found."""


@dataclass(frozen=True)
class Lengths:
    """Log-normal lengths between bounds: many short ones, a few long."""

    median: float
    sigma: float
    least: int
    most: int

    def draw(self, num: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Draw so many."""
        drawn = np.rint(self.median * np.exp(self.sigma * rng.standard_normal(num)))
        return np.clip(drawn, self.least, self.most).astype(np.int64)


PROMPTS = Lengths(100, 0.8, 16, 512)
OUTPUTS = Lengths(24, 0.6, 4, 96)


@dataclass(frozen=True)
class Setting:
    """What all runs share."""

    model: Path
    calibration: Calibration
    file: Path
    threads: int
    seconds: float
    seed: int


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
    parser.add_argument("--keep", type=Path, help="keep recordings, calibration and requests in this folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Calibrate, serve, play, compare."""
    about = facts(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        model = args.model or checkpoint()
        tell("calibrating")
        noise = Noise()
        order = Order(flags=(*flags(model), *LARGE_STEPS), threads=args.threads, measure_s=60 * args.minutes)
        calibration = calibrate(order)
        save(calibration, folder / "calibration.toml")
        setting = Setting(
            model, calibration, folder / "calibration.toml", args.threads, args.seconds, args.seed
        )  # fmt: skip
        shared = {"calibrating": noise.others_busy_frac()}
        rows: list[dict[str, Any]] = []
        for policy in args.policies.split(","):
            noise = Noise()
            rows += asyncio.run(of_policy(setting, policy, [float(word) for word in args.loads.split(",")], folder))
            shared[policy] = noise.others_busy_frac()
    return {
        "benchmark": "fidelity/live",
        "machine": about,
        "others_busy_frac": shared,
        "calibration": {"errors": calibration.errors, "overheads": calibration.overheads},
        "targets": {f"p{percent}": target for percent, target in TARGETS.items()},
        "summary": summary(rows),
        "runs": rows,
    }


LARGE_STEPS = ("--policy", "serving/sarathi", "--policy-param", "token_budget=1024")


def flags(model: Path) -> tuple[str, ...]:
    """Return what every server is started with."""
    return (str(model), "--kv-memory", "512MiB", "--max-seqs", str(MAX_SEQS))


async def of_policy(setting: Setting, policy: str, loads: list[float], folder: Path) -> list[dict[str, Any]]:
    """Serve all loads with one server, then play each in virtual time."""
    capacity_per_s = saturate(setting, policy)
    recording = folder / f"{policy.replace('/', '-')}.jsonl"
    runs: list[tuple[float, list[Answer]]] = []
    with serving([*flags(setting.model), "--policy", policy], recording, setting.threads) as server:
        asker = await Asker.of(server.url)
        for load in loads:
            tell(f"{policy} at {load:.0%} of {capacity_per_s:.1f} requests/s")
            runs.append((load, await asker.ask(plan(setting, f"{policy}-{load}", load * capacity_per_s))))
        await asker.close()
    recorded = read_recording(recording)
    return [compare(setting, policy, load, capacity_per_s, answers, recorded) for load, answers in runs]


def plan(setting: Setting, name: str, rate_per_s: float) -> list[Planned]:
    """Draw up the requests of one run: a Poisson process."""
    rng = np.random.default_rng([setting.seed, *name.encode()])
    num = max(10, round(rate_per_s * setting.seconds))
    times, prompts, outputs = arrivals(num, rate_per_s, 1.0, rng), PROMPTS.draw(num, rng), OUTPUTS.draw(num, rng)
    return [
        Planned(id=f"{name}-{row}", at_s=at_s, input_tokens=int(prompts[row]), output_tokens=int(outputs[row]))
        for row, at_s in enumerate(times)
    ]


def saturate(setting: Setting, policy: str) -> float:
    """Return how many requests a second a policy serves when all are there at once."""
    rng = np.random.default_rng(setting.seed)
    prompts, outputs = PROMPTS.draw(SATURATED, rng), OUTPUTS.draw(SATURATED, rng)
    table = RequestTable(np.zeros(SATURATED), prompts, outputs)
    return float(play(setting, policy, table).report.numbers["requests_per_s"])


def play(setting: Setting, policy: str, table: RequestTable) -> Outcome:
    """Play requests in virtual time."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requests.csv"
        write_requests(table, file)
        fleet = FleetSpec(
            calibration=str(setting.file), block_size=setting.calibration.block_size, max_running=MAX_SEQS
        )  # fmt: skip
        scenario = ServingScenario(trace=TraceSpec(source=str(file)), fleet=(fleet,))
        return scenario.play(catalogue.build(policy, {}))


def compare(
    setting: Setting, policy: str, load: float, capacity_per_s: float, answers: list[Answer], recorded: Recording
) -> dict[str, Any]:
    """Play what was sent, and hold what clients felt against it."""
    sent_s = np.array([answer.sent_s for answer in answers])
    order = np.argsort(sent_s, kind="stable")
    mine = [answers[row] for row in order]
    table = RequestTable(
        sent_s[order] - sent_s.min(),
        np.array([answer.input_tokens for answer in mine]),
        np.array([answer.output_tokens for answer in mine]),
    )
    virtual = felt(play(setting, policy, table), setting.calibration.overheads)
    live = {metric: np.array([getattr(answer, metric) for answer in mine]) for metric in METRICS}
    return {
        "policy": policy,
        "load_frac": load,
        "rate_per_s": load * capacity_per_s,
        "num_requests": len(mine),
        "num_silent": sum(len(answer.itls_s) + 1 < answer.output_tokens for answer in mine),
        "live": percentiles(live),
        "virtual": percentiles(virtual),
        "errors": {name: percentiles(virtual)[name] / value - 1 for name, value in percentiles(live).items()},
        "median_request_error": {
            metric: float(np.median(np.abs(virtual[metric] / live[metric] - 1))) for metric in METRICS
        },
        "steps": step_errors(setting.calibration.price, steps_between(recorded, mine)),
    }


def steps_between(recorded: Recording, answers: list[Answer]) -> Any:
    """Return the steps of one run, those of the same server's other runs left out."""
    sent = [recorded.sent[f"{answer.answer_id}-0"] for answer in answers]
    first_s, last_s = min(one.arrival_s for one in sent), max(one.last_s for one in sent)
    return [step for step in recorded.steps if first_s <= step.at_s <= last_s]


def felt(outcome: Outcome, overheads: dict[str, float]) -> dict[str, Any]:
    """Return what clients would have felt, in the order in which requests were sent."""
    back = np.argsort(outcome.works["row"])
    ttft_s, e2e_s = (outcome.works[name][back].astype(float) for name in ("ttft_s", "e2e_s"))
    tokens = outcome.works["output_tokens"][back]
    ttft_s = ttft_s + overheads["first_token_s"]
    e2e_s = e2e_s + overheads["last_token_s"]
    return {"ttft_s": ttft_s, "e2e_s": e2e_s, "tpot_s": (e2e_s - ttft_s) / np.maximum(tokens - 1, 1)}


def percentiles(columns: dict[str, Any]) -> dict[str, float]:
    """Return the percentiles that are compared, in seconds."""
    return {
        f"p{percent}_{metric}": float(np.percentile(columns[metric], percent))
        for percent in PERCENTS
        for metric in METRICS
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians of the absolute errors over runs, all metrics together and each by itself."""
    found: dict[str, Any] = {}
    for percent in PERCENTS:
        off = {metric: [abs(row["errors"][f"p{percent}_{metric}"]) for row in rows] for metric in METRICS}
        found[f"p{percent}_median"] = float(np.median(np.concatenate(list(off.values()))))
        found |= {f"p{percent}_{metric}_median": float(np.median(values)) for metric, values in off.items()}
        found[f"p{percent}_worst"] = max(max(values) for values in off.values())
        found[f"p{percent}_met"] = found[f"p{percent}_median"] <= TARGETS[percent]
    return found


def checkpoint() -> Path:
    """Return the random model with the tokenizer of the shipped one, written at the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headway" / "bench"
    folder = cache / f"fidelity-{SHAPE['hidden_size']}x{SHAPE['num_hidden_layers']}"
    if not (folder / "tokenizer.json").is_file():
        write(SHAPE, folder)
        speak_plainly(folder)
        for name in ("tokenizer_config.json", "tokenizer.json"):
            shutil.copy(shipped_folder() / name, folder / name)
    return folder


def speak_plainly(folder: Path) -> None:
    """Keep a model from giving tokens that are no text by themselves: the client could not tell when they came."""
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(shipped_folder() / "tokenizer.json"))
    texts = [tokenizer.decode([token]) for token in range(SHAPE["vocab_size"])]
    weights = load_file(folder / "model.safetensors")
    mute = [token for token, text in enumerate(texts) if not text or "\ufffd" in text]
    weights["model.embed_tokens.weight"][mute] = 0  # tied: their logits are 0, and there is always a larger one
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


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


def show(found: dict[str, Any]) -> None:
    """Print a table."""
    names = [f"p{percent}_{metric}" for percent in PERCENTS for metric in METRICS]
    print(f"{'virtual / live - 1':26}" + "".join(f"{name.removesuffix('_s'):>10}" for name in names) + "   steps")
    for row in found["runs"]:
        cells = "".join(f"{row['errors'][name]:+10.1%}" for name in names)
        print(f"{row['policy']:18}{row['load_frac']:7.0%} {cells}{row['steps']['total_frac']:+8.1%}")
    for percent, target in TARGETS.items():
        median, worst = (found["summary"][f"p{percent}_{what}"] for what in ("median", "worst"))
        print(f"p{percent}: median error {median:.1%}, worst {worst:.1%}; target {target:.0%}")
    shares = ", ".join(f"{share:.0%} ({name})" for name, share in found["others_busy_frac"].items())
    print(f"other work took of the processors: {shares}")
