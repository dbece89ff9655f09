"""How close rules, local search and the default planner come to the best known of public instances in equal time.

On the instances of a folder of public collections (``jssp.jsonl.gz``, ``fjsp.jsonl.gz``, ``rcpsp.jsonl.gz``, each row
with its best known bounds): dispatching rules as constructors, tabu search with three neighbourhoods, the exact
planner, and the default planner that chains them.

Time is processor time of one thread, so that other work on the machine takes nothing from anybody: each trial runs in a
process of its own, whose budgets count its own processor time, and which is ended when it has had its seconds. Gaps are
those of the best objective told by then, in percent of the best known.

    python benchmarks/shop_improve.py --data DIR --budget 60 --json FILE
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from headway.core import catalogue
from headway.core.parameters import decode
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Progress
from headway.policies.shop.rules import NAMES
from headway.policies.shop.schedule import faults, objective
from headway.sim.shop.instances.door import read_one

TAILLARD = tuple(f"ta{number:02}" for number in (1, 5, 9, 11, 15, 19, 21, 25, 29))
FEW = ("ta01", "ta11", "ta21")
PLANS = {
    "tabu n6": ("shop/tabu", {"neighbourhood": "n6"}, "jssp", TAILLARD),
    "tabu n5": ("shop/tabu", {"neighbourhood": "n5"}, "jssp", FEW),
    "tabu n7": ("shop/tabu", {"neighbourhood": "n7"}, "jssp", FEW),
    "headway": ("shop/headway", {"workers": 1}, "jssp", FEW),
    "cp-sat": ("shop/cp-sat", {"workers": 1}, "jssp", FEW),
    "headway, flexible": ("shop/headway", {"workers": 1}, "fjsp", ("mk01", "la21_rdata", "la31_vdata")),
    "headway, project": ("shop/headway", {"workers": 1}, "rcpsp", ("j30_13_1", "j60_25_1", "j120_13_1")),
}
"""What is tried: row, parameters, collection, instances."""
Row = dict[str, Any]


def trial(plan: str, name: str, data: Path, budget_s: float, seed: int) -> Row:
    """Run one plan in a process of its own; returns what it told."""
    given = [sys.executable, __file__, "--trial", json.dumps([plan, name, str(data), budget_s, seed])]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(given, capture_output=True, text=True, env=environment, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    if not told:
        raise SystemExit(f"{plan} told nothing of {name}: {done.stderr[-500:]}")
    best_known = read_one(data / f"{PLANS[plan][2]}.jsonl.gz", name).best_known
    assert best_known
    curve = [(one["at_s"], one["objective"]) for one in told if one["objective"] is not None]
    gaps = {}
    for share in (1 / 6, 1 / 2, 1):
        by_then = [cost for at_s, cost in curve if at_s <= share * budget_s + 0.5]
        gaps[f"{share * budget_s:g}s"] = round(100 * (min(by_then) / best_known - 1), 3) if by_then else None
    bounds = [one["bound"] for one in told if one["bound"] is not None]
    return {
        "plan": plan, "instance": name, "seed": seed, "best_known": best_known, "gap_percent": gaps,
        "objective": min(cost for _, cost in curve), "bound": max(bounds, default=None),
        "cpu_s": told[-1]["at_s"] if "sound" in told[-1] else budget_s, "sound": told[-1].get("sound"),
    }  # fmt: skip


def child(plan: str, name: str, data: str, budget_s: float, seed: int) -> None:
    """Run a plan within its processor time, and print what it tells."""
    import headway.numerics.cp as cp
    import headway.numerics.stopwatch as stopwatch

    id_, params, collection, _ = PLANS[plan]
    problem = read_one(Path(data) / f"{collection}.jsonl.gz", name)
    solver = decode(catalogue.load(id_), params, where=id_)
    stopwatch.time = SimpleNamespace(perf_counter=time.process_time)  # type: ignore[attr-defined]
    exact = cp.solve
    # It counts seconds of the clock, so it gets more than enough of them: what ends it is the processor time.
    cp.solve = lambda *args, **more: exact(*args, **more | {"budget_s": 10 * more["budget_s"]})
    begin_s = time.process_time()
    limit = int(begin_s + budget_s) + 3
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))

    def tell(news: Progress) -> None:
        row = {"at_s": round(time.process_time() - begin_s, 2), "objective": news.objective, "bound": news.bound}
        print(json.dumps(row), flush=True)

    result = solver.solve(problem, budget_s=budget_s, rng=np.random.default_rng(seed), tell=tell)
    sound = result.schedule is not None and not faults(problem, result.schedule)
    last = {"at_s": round(time.process_time() - begin_s, 2), "objective": result.objective, "bound": result.bound}
    print(json.dumps(last | {"sound": sound}), flush=True)


def rules(data: Path) -> dict[str, Row]:
    """Return the mean gap of every dispatching rule over the Taillard instances, non-delay and active."""
    from headway.policies.shop.generate import generate
    from headway.policies.shop.rules import rule

    gaps: dict[str, list[float]] = defaultdict(list)
    begin_s = time.process_time()
    problems = [read_one(data / "jssp.jsonl.gz", name) for name in TAILLARD]
    for problem in problems:
        for name in NAMES:
            for non_delay in (True, False):
                cost = objective(problem, generate(problem, rule(name), non_delay=non_delay))
                gaps[f"{name} {'non-delay' if non_delay else 'active'}"].append(100 * (cost / _known(problem) - 1))
    took_ms = 1000 * (time.process_time() - begin_s) / (len(problems) * len(NAMES) * 2)
    ranked = sorted(gaps.items(), key=lambda one: statistics.fmean(one[1]))
    return {name: {"mean_gap_percent": round(statistics.fmean(one), 2)} for name, one in ranked} | {
        "each": {"cpu_ms": round(took_ms, 2)}
    }


def _known(problem: Problem) -> int:
    assert problem.best_known
    return problem.best_known


def main() -> None:
    """Run all trials and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of jssp.jsonl.gz, fjsp.jsonl.gz, rcpsp.jsonl.gz")
    parser.add_argument("--budget", type=float, default=60.0, help="processor seconds of a trial; 60")
    parser.add_argument("--seeds", type=int, default=1, help="how many for each instance; 1")
    parser.add_argument("--plans", nargs="*", default=list(PLANS), help="which of them; all")
    parser.add_argument("--limit-s", type=float, default=1500.0, help="processor seconds of all trials; 1500")
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    parser.add_argument("--trial", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.trial:
        child(*json.loads(args.trial))
        return
    found: Row = {
        "machine": {"cpus": os.cpu_count(), "processor": platform.processor(), "python": platform.python_version()},
        "budget_s": args.budget, "rules": rules(args.data), "trials": [],
    }  # fmt: skip
    print(json.dumps(found["rules"], indent=1))
    spent_s = 0.0
    for plan in args.plans:
        for name in PLANS[plan][3]:
            for seed in range(args.seeds):
                if spent_s + args.budget > args.limit_s:
                    continue
                row = trial(plan, name, args.data, args.budget, seed)
                spent_s += row["cpu_s"]
                found["trials"].append(row)
                print(json.dumps(row), flush=True)
        found["summary"] = summary(found["trials"])
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found.get("summary"), indent=1))


def summary(trials: list[Row]) -> dict[str, Row]:
    """Return by plan the median over seeds of each instance, and the mean and the worst of those."""
    by: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in trials:
        last = list(row["gap_percent"].values())[-1]
        if last is not None:
            by[row["plan"]][row["instance"]].append(last)
    found = {}
    for plan, instances in by.items():
        medians = {name: statistics.median(gaps) for name, gaps in instances.items()}
        found[plan] = {
            "mean_gap_percent": round(statistics.fmean(medians.values()), 3),
            "worst_gap_percent": round(max(medians.values()), 3),
            "median_gap_percent": medians,
        }
    return found


if __name__ == "__main__":
    main()
