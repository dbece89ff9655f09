"""How far virtual time is from queueing theory, where theory is exact.

    python benchmarks/fidelity.py closed [--json] [--seeds 20] [--requests 20000]

The serving world is arranged as single stations (`stations.py`) whose means are known. Each is played under several
seeds of its own; what theory says must lie within the Student interval over the seeds. The intervals hold with 99 %
confidence for all checks together (Bonferroni): one run of the whole benchmark in a hundred misses one by chance. Where
requests are served first come first served, each one's wait is also held against the recursion that defines it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fidelity.stations import Arrangement, Floats, waits_s
from headway.app.studies.statistics import interval
from headway.numerics.queueing import Station, md1, mg1, mg1_shared, mm1, mm1_response_quantile_s, mmc

CONFIDENCE = 0.99
WARM_UP = 10
"""One in so many requests comes first, while the queue is still short, and is not counted."""
MEASURES: Mapping[str, Callable[[Mapping[str, Floats]], float]] = {
    "wait_s": lambda times: float(times["wait_s"].mean()),
    "wait_frac": lambda times: float((times["wait_s"] > 0).mean()),
    "response_s": lambda times: float(times["response_s"].mean()),
    "p90_response_s": lambda times: float(np.quantile(times["response_s"], 0.9)),
}


@dataclass(frozen=True)
class Case:
    """A station, and what theory says of it."""

    name: str
    arrangement: Arrangement
    predicted: Mapping[str, float]


def cases() -> list[Case]:
    """Return the stations; a service takes 1 s on average."""
    found = [_case("M/M/1", Arrangement(load), mm1(load, 1.0), p90=load) for load in (0.5, 0.7, 0.9)]
    found += [_case("M/D/1", Arrangement(load, law="steady"), md1(load, 1.0)) for load in (0.5, 0.9)]
    found.append(_case("M/G/1, variation 4", Arrangement(0.6, law="gamma"), mg1(0.6, 1.0, 4.0)))
    for servers, load in ((2, 0.7), (4, 0.8), (16, 0.9)):
        rate = servers * load
        found.append(_case(f"M/M/{servers}", Arrangement(rate, num_servers=servers), mmc(rate, 1.0, servers)))
    for law in ("exponential", "steady", "gamma"):
        arrangement = Arrangement(0.7, law=law, shared=True, grain=400)
        found.append(_case(f"M/G/1-PS, {law}", arrangement, mg1_shared(0.7, 1.0)))
    return found


def _case(name: str, arrangement: Arrangement, station: Station, p90: float | None = None) -> Case:
    predicted = {"response_s": station.response_s, "wait_frac": station.wait_frac}
    if not arrangement.shared:  # there nobody waits but for the small step under way
        predicted["wait_s"] = station.wait_s
    if p90 is not None:
        predicted["p90_response_s"] = mm1_response_quantile_s(p90, 1.0, 0.9)
    return Case(f"{name}, load {station.load_frac:g}", arrangement, predicted)


def check(case: Case, num_requests: int, seeds: Sequence[int], confidence: float) -> list[dict[str, Any]]:
    """Play a station under all seeds; returns a row for each quantity."""
    runs, gap_s = [], 0.0
    for seed in seeds:
        table = case.arrangement.draw(num_requests, seed)
        times = case.arrangement.play(table, seed)
        if not case.arrangement.shared:
            exact_s = waits_s(table, case.arrangement.token_s, case.arrangement.num_servers)
            gap_s = max(gap_s, float(np.abs(times["wait_s"] - exact_s).max()))
        runs.append({name: values[num_requests // WARM_UP :] for name, values in times.items()})
    return [_row(case, name, [MEASURES[name](run) for run in runs], confidence, gap_s) for name in case.predicted]


def _row(case: Case, name: str, measured: Sequence[float], confidence: float, gap_s: float) -> dict[str, Any]:
    found, predicted = interval(measured, confidence), case.predicted[name]
    return {
        "station": case.name,
        "quantity": name,
        "predicted": predicted,
        "measured": found.mean,
        "low": found.low,
        "high": found.high,
        "inside": found.low <= predicted <= found.high,
        "error": found.mean / predicted - 1,
        "max_gap_to_recursion_s": None if case.arrangement.shared else gap_s,
    }


def report(all_cases: Sequence[Case], num_requests: int, num_seeds: int) -> dict[str, Any]:
    """Check all stations."""
    confidence = 1 - (1 - CONFIDENCE) / sum(len(case.predicted) for case in all_cases)
    rows = []
    for number, case in enumerate(all_cases):
        rows += check(case, num_requests, range(number * num_seeds, (number + 1) * num_seeds), confidence)
    errors = np.abs([row["error"] for row in rows])
    return {
        "benchmark": "fidelity/closed",
        "target": "every prediction within the interval",
        "num_seeds": num_seeds,
        "num_requests": num_requests,
        "confidence": CONFIDENCE,
        "num_checks": len(rows),
        "num_inside": sum(row["inside"] for row in rows),
        "median_error": float(np.median(errors)),
        "max_error": float(errors.max()),
        "max_gap_to_recursion_s": max(row["max_gap_to_recursion_s"] or 0.0 for row in rows),
        "rows": rows,
    }


def show(found: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{'station':34}{'quantity':16}{'theory':>10}{'measured':>10}{'interval':>20}{'error':>9}")
    for row in found["rows"]:
        span = f"{row['low']:.4f} - {row['high']:.4f}"
        print(
            f"{row['station']:34}{row['quantity']:16}{row['predicted']:10.4f}{row['measured']:10.4f}{span:>20}"
            f"{row['error']:+9.2%}{'' if row['inside'] else '  OUTSIDE'}"
        )
    gap_s = found["max_gap_to_recursion_s"]
    print(f"{found['num_inside']} of {found['num_checks']} inside; {found['num_seeds']} seeds each.")
    print(f"No request's wait is further than {gap_s:.1e} s from its recursion; a service takes 1 s on average.")


def add(choices: Any) -> None:
    """Declare the part's arguments."""
    parser = choices.add_parser("closed", help="queueing formulas: M/M/1, M/D/1, M/G/1, M/M/c, processor sharing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seeds", type=int, default=30, help="how many runs of each station")
    parser.add_argument("--requests", type=int, default=20_000, help="of each run")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Check all stations."""
    return report(cases(), options.requests, options.seeds)
