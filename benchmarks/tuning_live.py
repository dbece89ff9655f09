"""Fine-tuning beside serving, live: what each way of sharing trains, and what it costs those who are served.

A real engine process serves the shipped model to requests that arrive by chance, while a LoRA adapter of it is trained
on made-up examples of equal length. Every arm sees the same arrivals. First the load is found at which serving alone
just keeps its promises (the capacity); then each arm runs at shares of it.

An arm is safe at a load when the share of requests that were given all they were promised is at most one point below
that of serving alone.

    python benchmarks/tuning_live.py --json out.json
    python benchmarks/tuning_live.py --loads 0.6 --arms alone,tuning/harli --seconds 20
    python benchmarks/tuning_live.py --burst --capacity 100 --kv-mib 56

With `--burst` the load doubles for a while, from 40% to 80% of the capacity, with so little KV memory that what is lent
has to come back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headway.core.slo import Slo, SloClass
from headway.engines.llm.client import EngineClient, News
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.messages import Gauges, Output, Sampling, StopTune, Submit, Tune, TuneEnded, TuneTold
from headway.engines.tuning.spec import TuneSpec
from headway.engines.tuning.tokens import writing_examples

MODEL = str(Path(__file__).parents[1] / "src" / "headway" / "engines" / "llm" / "shipped" / "headway-mini")
ARMS = (
    "alone", "tuning/harli", "tuning/static-split", "tuning/when-idle", "tuning/unmanaged", "tuning/co-serve",
)  # fmt: skip
SAFE_BASELINES = ("tuning/static-split", "tuning/when-idle")
UNSAFE = ("tuning/unmanaged", "tuning/co-serve")
"""Measured with the first seed alone: nobody takes them for safe."""
SLO = SloClass(name="default", slos=(Slo("ttft_s", 0.5), Slo("tpot_s", 0.05)))
KEPT = 0.98
"""So many of those who are served alone are given what they were promised, at the capacity."""
POINT = 0.01
VOCAB = 2048


@dataclass
class Felt:
    """What one request felt."""

    sent_s: float
    first_s: float = float("nan")
    last_s: float = float("nan")
    tokens: int = 0
    finish: str = ""

    def push(self, output: Output) -> None:
        """Take news of it."""
        self.last_s = time.perf_counter()
        if not self.tokens and output.tokens:
            self.first_s = self.last_s
        self.tokens += len(output.tokens)
        self.finish = output.finish or self.finish

    def fail(self, error: Exception) -> None:
        """Note that it is lost."""
        self.finish = str(error)

    @property
    def ttft_s(self) -> float:
        """Time to first token, in seconds."""
        return self.first_s - self.sent_s

    @property
    def tpot_s(self) -> float:
        """Mean time per output token after the first, in seconds."""
        return (self.last_s - self.first_s) / max(1, self.tokens - 1)

    @property
    def is_kept(self) -> bool:
        """Whether it was given all it was promised."""
        return self.finish == "length" and self.ttft_s <= SLO.slos[0].bound and self.tpot_s <= SLO.slos[1].bound


@dataclass
class Told:
    """What the engine tells of its run and of itself."""

    marks: list[tuple[float, int]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    lent: list[tuple[float, int]] = field(default_factory=list)
    ended: str = ""
    gauges: Gauges | None = None

    def hear(self, news: News) -> None:
        """Take news of the engine."""
        if isinstance(news, TuneTold):
            self.marks.append((time.perf_counter(), news.news.tokens))
            if news.news.what == "step":
                self.steps.append(news.news.step)
        elif isinstance(news, TuneEnded):
            self.ended = f"{news.reason} {news.why}"
        elif isinstance(news, Gauges):
            self.gauges = news
            self.lent.append((time.perf_counter(), news.tune_blocks))

    def tokens_at(self, at_s: float) -> float:
        """Tokens trained on until a time, between two steps by proportion."""
        times, tokens = [mark[0] for mark in self.marks], [float(mark[1]) for mark in self.marks]
        return float(np.interp(at_s, times, tokens)) if times else 0.0


def spec_of(folder: Path, microbatch_tokens: int) -> TuneSpec:
    """Make examples, and say how they are trained on: for longer than any measurement takes."""
    rng = np.random.default_rng(0)
    with writing_examples(folder / "examples") as writer:
        for _ in range(512):
            writer.add(rng.integers(3, VOCAB, 128).tolist(), [1] * 128)
    return TuneSpec(
        job="bench",
        model=MODEL,
        name="bench",
        tokens=str(folder / "examples"),
        folder=str(folder / "run"),
        num_epochs=1000,
        microbatch_tokens=microbatch_tokens,
        checkpoint_steps=100,
    )


async def serve(engine: EngineClient, rate_per_s: float, seconds: float, seed: int) -> list[Felt]:
    """Send requests by chance at a rate, and wait for the last of them."""
    rng = np.random.default_rng(seed)
    felt: list[Felt] = []
    start_s = time.perf_counter()
    at_s = 0.0
    while (at_s := at_s + float(rng.exponential(1 / rate_per_s))) < seconds:
        await asyncio.sleep(max(0.0, start_s + at_s - time.perf_counter()))
        prompt = rng.integers(3, VOCAB, int(np.clip(rng.lognormal(4.5, 0.7), 8, 768))).tolist()
        output = int(np.clip(rng.lognormal(4.0, 0.6), 4, 384))
        sampling = Sampling(max_tokens=output, temperature=0.0, ignore_eos=True)
        sink = Felt(time.perf_counter())
        engine.submit(Submit(id=f"r{seed}-{len(felt)}", prompt=prompt, sampling=sampling), sink)
        felt.append(sink)
    while not all(one.finish for one in felt):
        await asyncio.sleep(0.05)
    return felt


def _config(arm: str, args: argparse.Namespace, trace: str) -> EngineConfig:
    return EngineConfig(
        model=MODEL,
        policy=args.policy,
        tuner=arm if arm != "alone" else "",
        slo_classes=(SLO,),
        max_seqs=args.max_seqs,
        kv_bytes=args.kv_mib << 20,
        trace=trace,
    )


async def play(arm: str, rate_per_s: float, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Run one arm at one load; returns what was measured."""
    told = Told()
    trace = str(Path(args.trace) / f"{arm.replace('/', '-')}-{rate_per_s:.0f}-{seed}.jsonl") if args.trace else ""
    engine = EngineClient(_config(arm, args, trace), on_news=told.hear)
    await engine.start()
    with tempfile.TemporaryDirectory() as folder:
        try:
            if arm != "alone":
                engine.send(Tune(spec=spec_of(Path(folder), args.microbatch_tokens)))
                while len(told.marks) < 3 and not told.ended:
                    await asyncio.sleep(0.05)
            await serve(engine, rate_per_s, args.warm_s, seed=1000 + seed)
            start_s = time.perf_counter()
            felt = await serve(engine, rate_per_s, args.seconds, seed) if rate_per_s else await _wait(args.seconds)
            until_s = time.perf_counter()
            if arm != "alone" and not told.ended:
                engine.send(StopTune(id="bench"))
        finally:
            await engine.close()
    return _numbers(arm, rate_per_s, seed, felt, told, start_s, until_s)


async def burst(args: argparse.Namespace) -> dict[str, Any]:
    """Double the load for a while beside a run; returns what was felt before, in and after the burst."""
    told, parts = Told(), {}
    engine = EngineClient(_config("tuning/harli", args, ""), on_news=told.hear)
    await engine.start()
    with tempfile.TemporaryDirectory() as folder:
        try:
            engine.send(Tune(spec=spec_of(Path(folder), args.microbatch_tokens)))
            while len(told.marks) < 3 and not told.ended:
                await asyncio.sleep(0.05)
            for number, (name, load) in enumerate((("before", 0.4), ("burst", 0.8), ("after", 0.4))):
                start_s = time.perf_counter()
                felt = await serve(engine, load * args.capacity, args.seconds, seed=number + 1)
                now_s = time.perf_counter()
                numbers = _numbers("tuning/harli", load * args.capacity, number, felt, told, start_s, now_s)
                lent = [blocks for at_s, blocks in told.lent if start_s <= at_s <= now_s]
                parts[name] = numbers | {"lent_blocks_min": min(lent), "lent_blocks_max": max(lent)}
                print(_line({"load": load} | numbers), f"lent {min(lent)}..{max(lent)} blocks", file=sys.stderr)
        finally:
            await engine.close()
    gaps = [b - a for a, b in zip(told.steps, told.steps[1:], strict=False)]
    return parts | {"steps": len(told.steps), "steps_follow_each_other": set(gaps) <= {1}}


async def _wait(seconds: float) -> list[Felt]:
    await asyncio.sleep(seconds)
    return []


def _numbers(
    arm: str, rate_per_s: float, seed: int, felt: Sequence[Felt], told: Told, start_s: float, until_s: float
) -> dict[str, Any]:
    trained = told.tokens_at(until_s) - told.tokens_at(start_s)
    found = {
        "arm": arm,
        "rate_per_s": rate_per_s,
        "seed": seed,
        "num_requests": len(felt),
        "kept_frac": statistics.fmean(one.is_kept for one in felt) if felt else float("nan"),
        "tune_tokens_per_s": trained / (until_s - start_s),
        "ended": told.ended,
    }
    for name in ("ttft_s", "tpot_s"):
        values = [getattr(one, name) for one in felt] or [float("nan")]
        found |= {f"p{q}_{name}": float(np.nanpercentile(values, q)) for q in (50, 99)}
    mape = getattr(told.gauges, "tune_error_frac", None)
    return found | ({"predictor_error_frac": mape} if mape is not None else {})


async def capacity_of(args: argparse.Namespace) -> float:
    """Find the largest rate at which serving alone keeps its promises, within 5%."""
    low, high = 0.0, args.first_rate
    args = argparse.Namespace(**{**vars(args), "seconds": min(args.seconds, 10.0)})
    while (await play("alone", high, args, seed=0))["kept_frac"] >= KEPT:
        low, high = high, 1.6 * high
    low = low or high / 8
    while high / low > 1.05:
        middle = (low * high) ** 0.5
        kept = (await play("alone", middle, args, seed=0))["kept_frac"]
        print(f"  {middle:6.1f} requests/s alone: {kept:.3f} kept", file=sys.stderr)
        low, high = (middle, high) if kept >= KEPT else (low, middle)
    return low


async def main(args: argparse.Namespace) -> None:
    """Measure, print a table, and keep the numbers."""
    rate = args.capacity = args.capacity or await capacity_of(args)
    if args.burst:
        found = {"about": _about(args), "burst": await burst(args)}
        print(json.dumps(found["burst"], indent=1))
        if args.json:
            Path(args.json).write_text(json.dumps(found, indent=1) + "\n")
        return
    print(f"capacity: {rate:.1f} requests/s with {KEPT:.0%} kept", file=sys.stderr)
    rows: list[dict[str, Any]] = []
    for load in args.loads:
        for seed in range(1, args.seeds + 1):
            for arm in args.arms:
                if seed > 1 and arm in UNSAFE:
                    continue
                row = {"load": load} | await play(arm, load * rate, args, seed)
                rows.append(row)
                if args.json:  # what there is, should it be broken off
                    Path(args.json).write_text(json.dumps({"about": _about(args), "rows": rows}, indent=1) + "\n")
                print(_line(row), file=sys.stderr, flush=True)
    found = {
        "about": _about(args),
        "capacity_per_s": rate,
        "rows": rows,
        "summary": summary(rows, args),
    }
    print(json.dumps(found["summary"], indent=1))
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n")


def summary(rows: Sequence[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """Per load and arm, means over seeds; and what Harli trains against the best safe baseline, mean over loads."""
    table: dict[str, Any] = {}
    ratios: list[float] = []
    for load in args.loads:
        here = {arm: [r for r in rows if r["arm"] == arm and r["load"] == load] for arm in args.arms}
        means = {
            arm: {key: statistics.fmean(r[key] for r in found) for key in ("kept_frac", "tune_tokens_per_s")}
            for arm, found in here.items()
            if found
        }
        alone = means.get("alone", {}).get("kept_frac", float("nan"))
        for found in means.values():
            found["is_safe"] = bool(found["kept_frac"] >= alone - POINT)
        safe = [means[a]["tune_tokens_per_s"] for a in SAFE_BASELINES if a in means and means[a]["is_safe"]]
        if safe and max(safe) > 0 and "tuning/harli" in means:
            ratios.append(means["tuning/harli"]["tune_tokens_per_s"] / max(safe))
        table[f"{load:g}"] = means
    return {"by_load": table, "harli_over_best_safe": ratios, "mean": statistics.fmean(ratios) if ratios else None}


def _line(row: dict[str, Any]) -> str:
    return (
        f"  {row['load']:4.2f}  {row['arm']:20s} kept {row['kept_frac']:.3f}  "
        f"TTFT p50/p99 {row['p50_ttft_s'] * 1e3:5.0f}/{row['p99_ttft_s'] * 1e3:5.0f} ms  "
        f"TPOT {row['p50_tpot_s'] * 1e3:5.1f}/{row['p99_tpot_s'] * 1e3:5.1f} ms  "
        f"trains {row['tune_tokens_per_s']:6.0f}/s  {row['ended']}"
    )


def _about(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.processor() or platform.machine(),
        "cores": torch.get_num_threads(),
        "torch": torch.__version__,
        "slo": {slo.metric: slo.bound for slo in SLO.slos},
        **{key: value for key, value in vars(args).items() if key not in ("json", "trace")},
    }


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", type=lambda text: text.split(","), default=list(ARMS))
    parser.add_argument("--loads", type=lambda text: [float(x) for x in text.split(",")], default=[0.2, 0.4, 0.6])
    parser.add_argument("--burst", action="store_true")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--warm-s", type=float, default=4.0)
    parser.add_argument("--capacity", type=float, default=0.0, help="requests/s; found first when left out")
    parser.add_argument("--first-rate", type=float, default=20.0)
    parser.add_argument("--policy", default="serving/sarathi")
    parser.add_argument("--max-seqs", type=int, default=64)
    parser.add_argument("--kv-mib", type=int, default=256)
    parser.add_argument("--microbatch-tokens", type=int, default=512)
    parser.add_argument("--trace", default="", help="a folder for the engine's own traces")
    parser.add_argument("--json", default="")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    asyncio.run(main(parsed()))
