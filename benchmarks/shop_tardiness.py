"""How far rules for one machine are from the optimum, on public and on made-up instances, and how long they take.

Public: the odd instances of OR-Library's wt40 (weighted tardiness, 40 jobs, optima known). With the weights, WSPT,
WMDD and ATC are at home; the rules without weights are asked for total tardiness on the same jobs, against the optimum
that Lawler's decomposition proves, and their weighted tardiness is given beside it. Made up: the classes of the
publication at 20 to 500 jobs, against proven optima.

    python benchmarks/shop_tardiness.py --data DIR --json > FILE
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.policies.shop.lawler import Lawler
from headway.policies.shop.making import single_machine
from headway.policies.shop.smtt_expression import evolved
from headway.policies.shop.smtt_rules import Rule, sequence, total_tardiness
from headway.policies.shop.subset_dp import SubsetDp
from headway.sim.shop.instances.due_classes import class_of, generated

Floats = NDArray[np.float64]
PLAIN: tuple[Rule, ...] = ("mddc", "mddc-plain", "mdd", "eddc", "edd", "psk", "spt")
WEIGHTED: tuple[Rule, ...] = ("wspt", "wmdd", "atc")
SIZES = {20: 40, 50: 10, 100: 10, 200: 5, 500: 1}
"""Jobs, and instances of each of the twenty classes."""


def public(folder: Path) -> dict[str, Any]:
    """Return the gaps on wt40, with weights and without."""
    with gzip.open(folder / "wt40.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    with_weights: dict[str, list[tuple[float, float]]] = {}
    without: dict[str, list[tuple[float, float]]] = {}
    wrong: list[str] = []  # a rule comes to less than what the file calls the optimum
    for row in rows:
        p, d, w = (np.array(row[name], dtype=np.float64) for name in "pdw")
        best, _ = _optimum(p, d, 60.0)
        assert best is not None
        orders = {rule: sequence(rule, p, d, w if rule in WEIGHTED else None) for rule in (*PLAIN, *WEIGHTED)}
        costs = {rule: total_tardiness(order, p, d, w) for rule, order in orders.items()}
        if min(costs.values()) < row["opt"]:
            wrong.append(row["name"])
        for rule, order in orders.items():
            if row["name"] not in wrong:
                with_weights.setdefault(rule, []).append((costs[rule], row["opt"]))
            if rule in PLAIN:
                without.setdefault(rule, []).append((total_tardiness(order, p, d), best))
        own = evolved()(p, d, 0.0)
        without.setdefault("evolved", []).append((total_tardiness(own, p, d), best))
    return {
        "num_instances": len(rows),
        "left_out_for_a_wrong_optimum": wrong,
        "weighted_tardiness": {rule: _gaps(pairs) for rule, pairs in with_weights.items()},
        "total_tardiness": {rule: _gaps(pairs) for rule, pairs in without.items()},
    }


def made(num_jobs: int, per_class: int, budget_s: float) -> dict[str, Any]:
    """Return gaps and times on made-up instances of one size."""
    rng = np.random.default_rng([2026, num_jobs])
    pairs: dict[str, list[tuple[float, float]]] = {}
    times: dict[str, list[float]] = {}
    proofs_s, num_unproven = [], 0
    for number in range(20 * per_class):
        p, d = generated(num_jobs, *class_of(number), rng)
        best, took_s = _optimum(p, d, budget_s)
        proofs_s.append(took_s)
        num_unproven += best is None
        for rule in (*PLAIN, "evolved"):
            begin_s = time.perf_counter()
            order = evolved()(p, d, 0.0) if rule == "evolved" else sequence(rule, p, d)  # type: ignore[arg-type]
            times.setdefault(rule, []).append(time.perf_counter() - begin_s)
            if best is not None:
                pairs.setdefault(rule, []).append((total_tardiness(order, p, d), best))
    return {
        "num_jobs": num_jobs,
        "num_instances": 20 * per_class,
        "num_unproven": num_unproven,
        "proof_s": {"median": float(np.median(proofs_s)), "max": float(max(proofs_s))},
        "rules": {rule: {**_gaps(pairs[rule]), "median_us": 1e6 * float(np.median(times[rule]))} for rule in pairs},
    }


def exact_times() -> dict[str, float]:
    """Return how long the dynamic program over subsets takes at 20 jobs, in milliseconds."""
    spent = []
    for number in range(20):
        p, d = generated(20, *class_of(number), np.random.default_rng([7, number]))
        problem = single_machine("x", p.astype(int).tolist(), d.astype(int).tolist())
        spent.append(1e3 * SubsetDp().solve(problem, budget_s=60, rng=np.random.default_rng(0)).took_s)
    return {"subset_dp_20_jobs_median_ms": float(np.median(spent))}


def _optimum(p: Floats, d: Floats, budget_s: float) -> tuple[float | None, float]:
    problem = single_machine("x", p.astype(int).tolist(), d.astype(int).tolist())
    found = Lawler().solve(problem, budget_s=budget_s, rng=np.random.default_rng(0))
    return found.bound, found.took_s


def _gaps(pairs: list[tuple[float, float]]) -> dict[str, float]:
    costs, best = (np.array(column) for column in zip(*pairs, strict=True))
    late = best > 0
    gap = costs[late] / best[late] - 1.0
    half = 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))
    return {
        "mean_gap_frac": float(gap.mean()),
        "mean_gap_frac_half_interval": float(half),
        "median_gap_frac": float(np.median(gap)),
        "sum_gap_frac": float(costs[late].sum() / best[late].sum() - 1.0),
        "num_optimal": int((costs == best).sum()),
        "num_optimum_zero": int((~late).sum()),
    }


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, help="a folder with wt40.jsonl.gz")
    parser.add_argument("--optimum-s", type=float, default=10.0, help="computing time for each proof")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    for rule in (*PLAIN, *WEIGHTED):
        sequence(rule, np.ones(3), np.ones(3))  # compiles
    evolved()(np.ones(3), np.ones(3), 0.0)
    begin_s = time.process_time()
    results: dict[str, Any] = {
        "machine": {"processor": platform.machine(), "python": platform.python_version()},
        "wt40": public(options.data) if options.data else None,
        "made": [made(num, several, options.optimum_s) for num, several in SIZES.items()],
        **exact_times(),
    }
    results["cpu_s"] = round(time.process_time() - begin_s, 1)
    print(json.dumps(results, indent=None if options.json else 2))


if __name__ == "__main__":
    main()
