"""How much of weeks of the Deep Space Network can be scheduled: greedy, evolutionary search, constraint programming.

Each week is planned several times with other seeds: at equal processor time, at equally many real evaluations, and with
a decoder in plain Python (charged) in equal time. A request gets one track; it is satisfied when the track has at least
the least duration asked for. Missions may have several tracks at once. CP-SAT begins with the greedy plan.

    python benchmarks/shop_satellites.py --data DIR --json > FILE
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from headway.app.reproduce.claims.ffeea_settings import NEVER, ProcessorWatch, charged_s
from headway.policies.shop.ffeea_decoder import Decoder
from headway.policies.shop.ffeea_exact import exact
from headway.policies.shop.ffeea_greedy import best_order
from headway.policies.shop.ffeea_nouns import Link, link_s
from headway.policies.shop.ffeea_satellite import FfeeaSatellite
from headway.sim.shop.ffeea_faults import faults
from headway.sim.shop.instances.satnet import read_satnet

HOUR_S = 3600.0
SETTINGS: dict[str, dict[str, float]] = {
    "equal time": {"budget_s": 3.0},
    "equal time, plain decoder": {"budget_s": 60.0, "slow": 1.0},
    "equal evaluations": {"evaluations": 5000.0},
}


def measure(decoder: Decoder, fuzzy: bool, seed: int, setting: dict[str, float]) -> tuple[tuple[Link, ...], Any]:
    """Plan one week once."""
    policy = FfeeaSatellite(
        fuzzy=fuzzy, generations=NEVER, patience=0, max_evaluations=int(setting.get("evaluations", 0))
    )
    fitness = policy.fitness(decoder)
    fitness.warm()
    extra_s = charged_s(decoder.problem) if "slow" in setting else 0.0
    watch = ProcessorWatch(setting.get("budget_s", float(NEVER)), fitness, extra_s)
    found = policy.search(decoder, watch=watch, rng=np.random.default_rng(seed), fitness=fitness)
    return decoder.links(found.order), found


def described(decoder: Decoder, several: list[tuple[Link, ...]]) -> dict[str, Any]:
    """Return hours and requests of several plans of a week."""
    for links in several:
        assert faults(decoder.problem, links) == []
    hours = np.array([link_s(links) / HOUR_S for links in several])
    missions = [_unsatisfied(decoder, links) for links in several]
    return {
        "hours": round(float(hours.mean()), 1),
        "hours_std": round(float(hours.std(ddof=1)), 2) if len(hours) > 1 else 0.0,
        "asked_for_frac": round(float(hours.mean() * HOUR_S / sum(t.max_s for t in decoder.problem.tasks)), 4),
        "requests": round(float(np.mean([len(links) for links in several])), 1),
        "unsatisfied_rms": round(float(np.mean(missions)), 3),
    }


def _unsatisfied(decoder: Decoder, links: tuple[Link, ...]) -> float:
    """Return the root mean square over missions of the share of hours that they asked for and did not get."""
    asked: dict[str, int] = {}
    got: dict[str, int] = {}
    lasts = {link.task: link.end_s - link.start_s for link in links}
    for task in decoder.problem.tasks:
        asked[task.satellite] = asked.get(task.satellite, 0) + task.max_s
        got[task.satellite] = got.get(task.satellite, 0) + lasts.get(task.id, 0)
    return float(np.sqrt(np.mean([(1 - got[mission] / asked[mission]) ** 2 for mission in asked])))


def week(decoder: Decoder, num_seeds: int, exact_s: float) -> dict[str, Any]:
    """Return what each planner makes of a week."""
    greedy = decoder.links(best_order(decoder))
    rows: dict[str, Any] = {"greedy": described(decoder, [greedy])}
    for name, setting in SETTINGS.items():
        for who, fuzzy in (("ffeea", True), ("exact fitness", False)):
            runs = [measure(decoder, fuzzy, seed, setting) for seed in range(num_seeds)]
            rows[f"{who}, {name}"] = {
                **described(decoder, [links for links, _ in runs]),
                "num_real": float(np.mean([found.num_real for _, found in runs])),
                "num_fuzzy": float(np.mean([found.num_fuzzy for _, found in runs])),
            }
    if exact_s:
        proven = exact(decoder.problem, budget_s=exact_s, start=greedy)
        rows["cp-sat"] = {**described(decoder, [proven.links]), "bound_hours": round(proven.bound_s / HOUR_S, 1)}
    return {"num_requests": len(decoder.problem.tasks), "num_antennas": len(decoder.problem.antennas), "planners": rows}


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="with satnet_dsn.jsonl.gz and satnet_maintenance.csv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--exact-s", type=float, default=60.0, help="computing time of CP-SAT for each week; 0: none")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.data is None:
        print("not measured: it needs public instances (--data DIR)")
        return
    begin_s = time.process_time()
    weeks = read_satnet(options.data / "satnet_dsn.jsonl.gz", options.data / "satnet_maintenance.csv")
    results: dict[str, Any] = {
        "machine": {"processor": platform.machine(), "python": platform.python_version()},
        "settings": SETTINGS,
        "num_seeds": options.seeds,
        "exact_s": options.exact_s,
        "weeks": {name: week(Decoder(problem), options.seeds, options.exact_s) for name, problem in weeks.items()},
    }
    results["cpu_s"] = round(time.process_time() - begin_s, 1)
    print(json.dumps(results, indent=None if options.json else 2))


if __name__ == "__main__":
    main()
