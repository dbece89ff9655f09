"""How soon the exact planner proves public job shops, and how close it comes to the best known of the hard ones.

Two parts, on the instances of a folder of public collections (``jssp.jsonl.gz``, each row with its best known bounds):

- *proof*: seconds until the optimum is proven, ours and PyJobShop's own model, one after the other on each instance
  with the same workers, seed and limit; who goes first alternates. What is compared is processor time, which other work
  on the machine disturbs least; the clock is reported beside it. PyJobShop runs the same solver.
- *gap*: objective and bound after a budget, against the best known.

    python benchmarks/shop_exact.py --data DIR --budget 60 --json FILE
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.problem import Problem
from headway.policies.shop.schedule import faults
from headway.sim.shop.instances.door import read_one

PROOF = ("ft06", "ft10", "ft20", *(f"la{number:02}" for number in range(1, 21, 2)))
GAP = ("ta01", "ta11", "ta21", "ta31", "dmu01", "dmu41")
Row = dict[str, Any]


def ours(problem: Problem, budget_s: float, workers: int, seed: int) -> Row:
    """Return what our model came to."""
    solver = CpSat(workers=workers)
    found = solver.solve(problem, budget_s=budget_s, rng=np.random.default_rng(seed))
    sound = found.schedule is not None and not faults(problem, found.schedule)
    return {"optimal": found.status == "optimal", "objective": found.objective, "bound": found.bound, "sound": sound}


def theirs(problem: Problem, budget_s: float, workers: int, seed: int) -> Row:
    """Return what PyJobShop's model of the same job shop came to."""
    import pyjobshop

    model = pyjobshop.Model()
    machines = [model.add_machine() for _ in problem.capacity]
    tasks = [model.add_task() for _ in problem.tasks]
    for task, made in zip(problem.tasks, tasks, strict=True):
        mode = task.modes[0]
        model.add_mode(made, machines[mode.needs[0][0]], mode.duration)
        for before in task.after:
            model.add_end_before_start(tasks[before], made)
    found = model.solve("ortools", budget_s, display=False, num_workers=workers, random_seed=seed)
    return {"optimal": found.status.value == "Optimal", "objective": found.objective, "bound": found.lower_bound}


def timed(solve: Callable[[Problem, float, int, int], Row], problem: Problem, *limits: Any) -> Row:
    """Return what came of a solver, with processor and clock seconds."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    found = solve(problem, *limits)
    return found | {
        "cpu_s": round(time.process_time() - cpu_s, 3),
        "wall_s": round(time.perf_counter() - wall_s, 3),
    }


def proof(problems: list[Problem], budget_s: float, workers: int, seeds: int) -> list[Row]:
    """Return both solvers' times on each instance and seed, interleaved."""
    rows = []
    for place, problem in enumerate(problems):
        for seed in range(seeds):
            limits = (problem, budget_s, workers, seed)
            pair: dict[str, Row] = {}
            order = [("ours", ours), ("pyjobshop", theirs)]
            for name, solve in order if (place + seed) % 2 else order[::-1]:
                pair[name] = timed(solve, *limits)
            rows.append({"instance": problem.name, "best_known": problem.best_known, "seed": seed, **pair})
            print(f"{problem.name:6} seed {seed}", *(f"{name}: {_said(row)}" for name, row in pair.items()), flush=True)
    return rows


def gaps(problems: list[Problem], budget_s: float, workers: int) -> list[Row]:
    """Return what is left to the best known after the budget."""
    rows = []
    for problem in problems:
        row = timed(ours, problem, budget_s, workers, 0)
        best = problem.best_known
        gap = None if not best or row["objective"] is None else row["objective"] / best - 1
        rows.append(
            {"instance": problem.name, "best_known": best, "known_bound": problem.bound, "gap_frac": gap, **row}
        )
        print(f"{problem.name:6} {_said(row)} best known {best}, gap {gap:.2%}" if gap is not None else row, flush=True)
    return rows


def _said(row: Row) -> str:
    mark = "proven" if row["optimal"] else f">= {row['bound']:g}"
    return f"{row['objective']:g} ({mark}) {row['cpu_s']:.2f} s of processor, {row['wall_s']:.2f} s;"


def summary(rows: list[Row], gap_rows: list[Row]) -> Row:
    """Return ratios of processor and clock time (below 1: ours is faster), and the mean gap."""
    found: Row = {"num_proven": sum(row["ours"]["optimal"] for row in rows), "num_instances": len(rows)}
    found["num_proven_pyjobshop"] = sum(row["pyjobshop"]["optimal"] for row in rows)
    for clock in ("cpu_s", "wall_s"):
        ratios = [row["ours"][clock] / max(row["pyjobshop"][clock], 1e-3) for row in rows]
        if ratios:
            found[f"median_ratio_{clock}"] = round(statistics.median(ratios), 3)
            total = sum(row["pyjobshop"][clock] for row in rows)
            found[f"total_ratio_{clock}"] = round(sum(row["ours"][clock] for row in rows) / total, 3)
    known = [row["gap_frac"] for row in gap_rows if row["gap_frac"] is not None]
    return found | ({"mean_gap_frac": round(statistics.mean(known), 4)} if known else {})


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the public collections")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for each instance and solver")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seeds", type=int, default=1, help="of the first part")
    parser.add_argument("--instances", nargs="*", default=list(PROOF), help="of the first part")
    parser.add_argument("--gap-instances", nargs="*", default=list(GAP), help="of the second part")
    parser.add_argument("--json", type=Path, help="keep the results here")
    options = parser.parse_args()
    if options.data is None:
        print("not measured: it needs public instances (--data DIR)")
        return
    file = options.data / "jssp.jsonl.gz"
    warm = read_one(file, "ft06")
    ours(warm, 5.0, 1, 0), theirs(warm, 5.0, 1, 0)  # whatever is imported or allocated once
    load = [round(os.getloadavg()[0], 2)]
    rows = proof([read_one(file, name) for name in options.instances], options.budget, options.workers, options.seeds)
    gap_rows = gaps([read_one(file, name) for name in options.gap_instances], options.budget, options.workers)
    load.append(round(os.getloadavg()[0], 2))
    found = summary(rows, gap_rows)
    print(json.dumps(found))
    if options.json:
        machine = {"processor": platform.machine(), "cores": os.cpu_count(), "load": load}
        limits = {"budget_s": options.budget, "workers": options.workers, "seeds": options.seeds}
        whole = {"machine": machine, **limits, "summary": found, "proof": rows, "gap": gap_rows}
        options.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
