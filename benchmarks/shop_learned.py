"""A learned dispatching policy on public job shops: against static rules, and against CP-SAT in equal time.

Every instance is planned by rules (non-delay), by the policy (its best choices, and the best of what it draws within
the budget), by CP-SAT with one worker for as long as the greedy policy took and for the budget, and by CP-SAT going on
from the greedy policy within the budget. All run on one thread, in turns, instance by instance. Reported is the mean
gap to the best known makespan, with 95% bootstrap intervals over instances, by size of Taillard's shops and by family.

    python benchmarks/shop_learned.py --data FOLDER --budget 3 --json FILE

`FOLDER` holds `jssp.jsonl.gz`, or any files that `headway solve` reads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.giffler_thompson import GifflerThompson
from headway.policies.shop.problem import Problem
from headway.policies.shop.rl_cp_jssp import SHIPPED, RlCpJssp
from headway.policies.shop.schedule import faults
from headway.policies.shop.seats import Solver
from headway.sim.shop.instances.door import read

RULES = ("fifo", "spt", "mopnr", "mwkr")
LONG_S = 3600.0
MANY = 1_000_000
FAMILIES = ("ft", "abz", "orb", "la", "swv", "yn", "dmu")


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder with jssp.jsonl.gz, or one file")
    parser.add_argument("--budget", type=float, default=3.0, help="seconds for CP-SAT and for drawing")
    parser.add_argument("--names", default="", help="only instances whose names begin with one of these, by commas")
    parser.add_argument("--every", type=int, default=1, help="of families other than ta, every so many-th instance")
    parser.add_argument("--weights", default="", help="weights other than those shipped")
    parser.add_argument("--note", default="", help="what to know about the run, kept with the results")
    parser.add_argument("--json", type=Path, help="write results there")
    options = parser.parse_args()
    if options.data is None:
        print("not measured: it needs public instances (--data DIR)")
        return
    problems = list(chosen(options.data, tuple(options.names.split(",")) if options.names else (), options.every))
    start_s = time.process_time()
    rows = measured(problems, options.budget, options.weights)
    result = {
        "what": "mean gap to the best known makespan, with 95% bootstrap intervals over instances",
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "note": options.note,
        "budget_s": options.budget,
        "weights": options.weights or SHIPPED.name,
        "cpu_s": round(time.process_time() - start_s, 1),
        "groups": grouped(rows),
        "instances": rows,
    }
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def chosen(data: Path, names: tuple[str, ...], every: int) -> Iterator[Problem]:
    """Yield the instances with a best known makespan."""
    file = data / "jssp.jsonl.gz" if data.is_dir() else data
    found = read(file)
    count = 0
    for problem in found if isinstance(found, list) else [found]:
        if problem.best_known is None or (names and not problem.name.startswith(names)):
            continue
        count += 1
        if problem.name.startswith("ta") or count % every == 0:
            yield problem


def measured(problems: list[Problem], budget_s: float, weights: str) -> list[dict[str, Any]]:
    """Plan every instance by all contestants."""
    warm(problems[0])
    rows = []
    for problem in problems:
        row: dict[str, Any] = {"name": problem.name, "size": size(problem), "best_known": problem.best_known}
        row["greedy"] = one(problem, RlCpJssp(weights=weights), LONG_S)
        for rule in RULES:
            row[rule] = one(problem, GifflerThompson(rule=rule), LONG_S)
        row["cp-sat as long as greedy"] = one(problem, CpSat(workers=1), row["greedy"]["took_s"])
        row["sampled"] = one(problem, RlCpJssp(weights=weights, samples=MANY), budget_s)
        row["finished"] = one(problem, RlCpJssp(weights=weights, finish=True), budget_s)
        row["cp-sat"] = one(problem, CpSat(workers=1), budget_s)
        rows.append(row)
        print(problem.name, {name: of["gap"] for name, of in row.items() if isinstance(of, dict)}, flush=True)
    return rows


def one(problem: Problem, solver: Solver, budget_s: float) -> dict[str, float | None]:
    """Return the makespan, the gap to the best known, and seconds by the clock and of the processor."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    found = solver.solve(problem, budget_s=budget_s, rng=np.random.default_rng(0))
    took_s, busy_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    if found.schedule is not None and faults(problem, found.schedule):
        raise RuntimeError(f"{problem.name}: {faults(problem, found.schedule)[0]}")
    gap = None if found.objective is None else round(found.objective / (problem.best_known or 1) - 1, 5)
    return {"makespan": found.objective, "gap": gap, "took_s": round(took_s, 4), "cpu_s": round(busy_s, 4)}


def warm(problem: Problem) -> None:
    """Import and compile before anything is timed."""
    RlCpJssp(samples=2).solve(problem, budget_s=LONG_S, rng=np.random.default_rng(0))
    CpSat(workers=1).solve(problem, budget_s=0.5, rng=np.random.default_rng(0))


def size(problem: Problem) -> str:
    """Return jobs x machines."""
    return f"{len(problem.jobs)}x{problem.num_resources}"


def grouped(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return gaps by size of Taillard's shops, by family of the others, and over all."""
    groups: dict[str, list[dict[str, Any]]] = {"all": rows}
    for row in rows:
        family = next((name for name in FAMILIES if row["name"].startswith(name)), "")
        groups.setdefault(family or f"ta {row['size']}", []).append(row)
    names = [name for name, value in rows[0].items() if isinstance(value, dict)]
    return {
        group: {"num": len(of), **{name: gaps([row[name] for row in of]) for name in names}}
        for group, of in groups.items()
    }


def gaps(found: list[dict[str, float | None]]) -> dict[str, Any]:
    """Return the mean gap with its interval, of the instances that have a schedule."""
    known = np.array([one["gap"] for one in found if one["gap"] is not None], float)
    times = {
        "median_took_s": round(float(np.median([one["took_s"] or 0 for one in found])), 4),
        "mean_cpu_s": round(float(np.mean([one["cpu_s"] or 0 for one in found])), 4),
        "num_without": len(found) - len(known),
    }
    if not len(known):
        return {"mean_gap": None, **times}
    draws = np.random.default_rng(0).choice(known, (2000, len(known))).mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"mean_gap": round(known.mean(), 4), "low": round(low, 4), "high": round(high, 4), **times}


def show(result: dict[str, Any]) -> None:
    """Print a table of gaps in percent."""
    groups = result["groups"]
    names = [name for name in groups["all"] if name != "num"]
    print(f"{'':12} {'num':>4}", *(f"{name[:13]:>14}" for name in names))
    for group, row in groups.items():
        cells = []
        for name in names:
            mean, missing = row[name]["mean_gap"], row[name]["num_without"]
            cells.append("-" if mean is None else f"{100 * mean:.1f}%" + (f" ({missing} none)" if missing else ""))
        print(f"{group:12} {row['num']:>4}", *(f"{cell:>14}" for cell in cells))


if __name__ == "__main__":
    main()
