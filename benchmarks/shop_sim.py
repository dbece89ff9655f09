"""How many operations a minute one core simulates in a shop with breakdowns, beside a plain SimPy model of the same.

    python benchmarks/shop_sim.py [--jobs 2000] [--machines 15] [--runs 5] [--plain] [--json] [--out FILE]

Jobs visit all machines in orders of their own; every machine takes the waiting job with the most work left; machines
break down, and what ran goes on after the repair. Ours plays that through a session with a policy that decides at every
event, and with an instrument-free report; the SimPy model is what its manual would have one write: a process per job, a
`PreemptiveResource` per machine, and a process per machine that breaks it down. Both get the same jobs and the same
breakdowns, and must come to the same makespan and the same busy time. They take turns; figures are medians of the time
that the processor spent, and ratios are taken within a round. With ``--plain`` all is done once more without compiled
copies of our modules; SimPy is plain Python in any case.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import race.machine
from headway.core.compiled import in_use
from headway.core.drivers import simulate
from headway.core.nouns import Resource
from headway.policies.shop.dispatching import Dispatching
from headway.policies.shop.nouns import ShopJob
from headway.policies.shop.problem import Mode, Task
from headway.policies.shop.seats_dispatch import Ready
from headway.sim.shop.breakdowns import Breakdown, Failures, drawn
from headway.sim.shop.world import ShopWorld

BAR_OPS_PER_MINUTE = 1e6
MEAN_S = 5e5
"""Durations are whole numbers of microseconds up to twice this, so that no two things happen at once."""


class MostWorkLeft:
    """The rule."""

    dynamic = False

    def key(self, ready: Ready, now_s: float) -> float:  # noqa: ARG002
        """Return less for a job of which more is left."""
        return -ready.work_left_s


@dataclass
class Shop:
    """One instance: for each job when it arrives and its (machine, duration) pairs, for each machine its breakdowns."""

    arrivals_s: list[float]
    routes: list[list[tuple[int, int]]]
    breakdowns: list[list[tuple[float, float]]]

    @property
    def num_operations(self) -> int:
        """How many there are."""
        return sum(map(len, self.routes))


def draw(num_jobs: int, num_machines: int, load: float, seed: int) -> Shop:
    """Draw an instance; with load 0 all jobs are there almost from the start.

    Not quite at once: SimPy gives a machine to the first who asks, ours to the best of all who ask at that instant.
    """
    rng = np.random.default_rng(seed)
    durations = rng.integers(1, int(2 * MEAN_S), (num_jobs, num_machines)).tolist()
    routes = [list(zip(rng.permutation(num_machines).tolist(), durations[job], strict=True)) for job in range(num_jobs)]
    gaps_s = rng.exponential(MEAN_S / load, num_jobs) if load else np.full(num_jobs, 1.37)
    failures = Failures(mtbf_s=40 * MEAN_S, repair_s=2 * MEAN_S)
    num_breakdowns = int(2 * num_jobs / min(load or 1.0, 1.0) / 42) + 50  # more than will be needed
    breakdowns = [list(islice(drawn(failures, stream), num_breakdowns)) for stream in rng.spawn(num_machines)]
    return Shop(np.cumsum(gaps_s).tolist(), routes, breakdowns)


def ours(shop: Shop) -> Callable[[], tuple[float, float]]:
    """Prepare our run; the call plays it, and returns makespan and busy time."""
    num_machines = len(shop.breakdowns)
    machines = [Resource(id=f"M{m}", kind="machine", capacity={"slot": 1.0}) for m in range(num_machines)]
    jobs = [
        ShopJob(
            id=f"J{number}",
            kind="job",
            arrival_s=arrival_s,
            tasks=tuple(
                Task((Mode(duration, ((m, 1),)),), after=(n - 1,) if n else ()) for n, (m, duration) in enumerate(route)
            ),
        )
        for number, (arrival_s, route) in enumerate(zip(shop.arrivals_s, shop.routes, strict=True))
    ]
    given = [
        Breakdown(machine=f"M{m}", at_s=start, lasts_s=end - start)
        for m, spans in enumerate(shop.breakdowns)
        for start, end in spans
    ]

    def play() -> tuple[float, float]:
        world = ShopWorld(jobs, machines, breakdowns=given)
        simulate(world, Dispatching(rule=MostWorkLeft()))
        return world.view.now_s, sum(world.busy_s)

    return play


def theirs(shop: Shop) -> Callable[[], tuple[float, float]]:
    """Prepare the SimPy run."""
    import simpy

    def play() -> tuple[float, float]:
        env = simpy.Environment()
        machines = [simpy.PreemptiveResource(env) for _ in shop.breakdowns]
        busy_s = [0.0]
        ends: list[float] = []

        def job(arrival_s: float, route: list[tuple[int, int]]) -> Generator[Any, Any, None]:
            yield env.timeout(arrival_s)
            left_work = float(sum(duration for _, duration in route))
            for machine, duration in route:
                left_s, priority = float(duration), -left_work
                while left_s > 0:
                    with machines[machine].request(priority=priority, preempt=False) as request:
                        yield request
                        since_s = env.now
                        try:
                            yield env.timeout(left_s)
                            left_s = 0.0
                        except simpy.Interrupt:
                            left_s -= env.now - since_s
                            priority = -1e18  # it goes on as soon as the machine is repaired
                busy_s[0] += duration
                left_work -= duration
            ends.append(env.now)

        def breaking(machine: int, spans: list[tuple[float, float]]) -> Generator[Any, Any, None]:
            for start_s, end_s in spans:
                yield env.timeout(start_s - env.now)
                with machines[machine].request(priority=-1e19, preempt=True) as request:
                    yield request
                    yield env.timeout(end_s - env.now)

        jobs = [env.process(job(*one)) for one in zip(shop.arrivals_s, shop.routes, strict=True)]
        for number, spans in enumerate(shop.breakdowns):
            env.process(breaking(number, spans))
        env.run(until=simpy.AllOf(env, jobs))
        return max(ends), busy_s[0]

    return play


def measure(name: str, shop: Shop, runs: int) -> dict[str, Any]:
    """Let both take turns; returns medians, and the median of the ratios within rounds."""
    players = {"headway": ours(shop), "simpy": theirs(shop)}
    spent_s: dict[str, list[float]] = {who: [] for who in players}
    for _ in range(runs):
        outcomes = {}
        for who, play in players.items():
            start_s = time.process_time()
            outcomes[who] = play()
            spent_s[who].append(time.process_time() - start_s)
        if not np.allclose(outcomes["headway"], outcomes["simpy"], rtol=1e-9, atol=0):
            raise SystemExit(f"{name}: makespan and busy time must be the same, got {outcomes}")
    per_minute = {who: shop.num_operations / statistics.median(times) * 60 for who, times in spent_s.items()}
    ratios = [them / us for us, them in zip(spent_s["headway"], spent_s["simpy"], strict=True)]
    return {
        "case": name,
        "num_operations": shop.num_operations,
        "makespan_s": outcomes["headway"][0],
        "num_breakdowns": sum(start < outcomes["headway"][0] for spans in shop.breakdowns for start, _ in spans),
        "ops_per_cpu_minute": per_minute,
        "times_as_fast_as_simpy": {
            "median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios),
        },
        "cpu_s": spent_s,
    }  # fmt: skip


def plain(args: argparse.Namespace) -> dict[str, Any]:
    """Measure in another process, without compiled copies."""
    sizes = ["--jobs", str(args.jobs), "--machines", str(args.machines), "--runs", str(args.runs), "--json"]
    command = [sys.executable, __file__, *sizes]
    environment = {**os.environ, "HEADWAY_NATIVE": "0"}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return {"compiled_copies": found["compiled_copies"], "cases": found["cases"]}


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2000, help="jobs (default: 2000)")
    parser.add_argument("--machines", type=int, default=15, help="machines, and operations of each job (default: 15)")
    parser.add_argument("--runs", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--plain", action="store_true", help="also without compiled copies of our modules")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, help="write the JSON object to a file, too")
    args = parser.parse_args()
    cases = [
        measure("50x15", draw(50, args.machines, 0.0, 1), args.runs * 4),
        measure("stream at load 0.85", draw(args.jobs, args.machines, 0.85, 2), args.runs),
        measure("queues of all jobs", draw(args.jobs, args.machines, 0.0, 3), args.runs),
    ]
    told: dict[str, Any] = {
        "what": "operations simulated per minute of processor time, one core, with breakdowns",
        "bar_ops_per_minute": BAR_OPS_PER_MINUTE,
        "compiled_copies": in_use() is not None,
        "machine": race.machine.facts(threads=1),
        "cases": cases,
    }
    if args.plain:
        told["plain"] = plain(args)
    if args.out:
        args.out.write_text(json.dumps(told, indent=1) + "\n")
    if args.json:
        print(json.dumps(told))
        return
    for case in [*cases, *told.get("plain", {}).get("cases", [])]:
        us, them = (case["ops_per_cpu_minute"][who] / 1e6 for who in ("headway", "simpy"))
        ratio = case["times_as_fast_as_simpy"]
        print(f"{case['case']:>22}: {us:5.2f} M operations a minute, SimPy {them:5.2f} M; {ratio['median']:.2f} times")


if __name__ == "__main__":
    main()
