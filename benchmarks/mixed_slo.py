"""The mixed workload: how much load each policy carries while the promised requests are within all their bounds.

The recipe is `examples/recipes/mixed-slo.toml`: chat, code completion, summaries, agents and a best-effort batch, on
one A100 and on four. With `--data` the recorded traces take the place of the shipped ones that were made after them.
Policies are developed on the first part of every trace; `--part unseen` plays the rest of it (and other agents).

A policy carries a load when the mean share over the seeds, of the requests that were promised something and were given
all of it, is at least 90% (and 98%). The search is over a grid of factors 1.05 apart.

    python benchmarks/mixed_slo.py --data DIR --part dev --json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from headway.app.studies.recipe import read_recipe
from headway.app.studies.statistics import interval
from headway.core import catalogue
from headway.core.parameters import decode
from headway.sim.serving.scenario import ServingScenario

RECIPE = Path(__file__).parents[1] / "examples" / "recipes" / "mixed-slo.toml"
BASELINE = "serving/sarathi"
OURS = "serving/headway"
GRID = 1.05
LEVELS = (0.9, 0.98)
HALVES = {"azure-conv": 540.0, "azure-code": 800.0, "mooncake-conv": 155.0, "agent-sessions": 130.0}
"""Where the first part of each shipped trace ends, in its own seconds."""
RECORDED = {
    "azure-conv": ("llm/azure2023_conv.csv.gz", 875.0),
    "azure-code": ("llm/azure2023_code.csv.gz", 850.0),
    "mooncake-conv": ("llm/mooncake_conversation.jsonl.gz", 1060.0),
}
"""The recorded traces, and where their first parts end."""
AGENTS = {"dev": "agent/lmcache_miniswe.jsonl.gz", "unseen": "agent/lmcache_magagent.jsonl.gz"}
AGENT_SESSIONS_PER_S = 0.012


def policies() -> list[dict[str, Any]]:
    """Return whole policies of the catalogue, seats in a stack with the defaults for the others."""
    table = [{"id": row.id} for row in catalogue.rows("serving") if row.id != "serving/stack"]
    return sorted(table, key=lambda named: (named["id"] != BASELINE, named["id"]))


def setting(part: str, data: Path | None, instances: int) -> dict[str, Any]:
    """Return what the scenario is made from."""
    found = dict(read_recipe(RECIPE).setting)
    found["trace"] = {"mix": [_moved(dict(one), part, data, instances) for one in found["trace"]["mix"]]}
    found["fleet"] = [{**found["fleet"][0], "instances": instances}]
    return found


def _moved(trace: dict[str, Any], part: str, data: Path | None, instances: int) -> dict[str, Any]:
    source, end_s = trace["source"], HALVES[trace["source"]]
    if data is not None and source == "agent-sessions":
        del trace["end_s"], trace["max_requests"], trace["window"], trace["rate_per_s"]
        arrivals = {"kind": "poisson", "rate_per_s": AGENT_SESSIONS_PER_S}
        return {**trace, "source": str(data / AGENTS[part]), "arrivals": arrivals, "drop_bad": True}
    if data is not None:
        name, end_s = RECORDED[source]
        trace["source"] = str(data / name)
        if source == "mooncake-conv":  # its clock ticks every three seconds, which would make storms when slowed down
            trace["arrivals"] = {"kind": "poisson", "rate_per_s": trace.pop("rate_per_s")}
    del trace["end_s"]
    trace |= {"end_s": end_s} if part == "dev" else {"start_s": end_s}
    return {**trace, "max_requests": trace["max_requests"] * (2 if instances > 1 else 1)}


@lru_cache(maxsize=4)
def scenario(part: str, data: Path | None, instances: int) -> ServingScenario:
    """Return the scenario of a part of the traces; each process makes it once."""
    return decode(ServingScenario, setting(part, data, instances), where=str(RECIPE))


def run(where: tuple[str, Path | None, int], policy: Mapping[str, Any], load_seed: tuple[float, int]) -> dict[str, Any]:
    """Play one run."""
    load, seed = load_seed
    params = {key: value for key, value in policy.items() if key not in ("id", "name")}
    made = catalogue.build(policy["id"], params)
    start_s = time.perf_counter()
    outcome = scenario(*where).play(made, seed=seed, load=load * where[2])
    works, numbers = outcome.works, outcome.report.numbers
    classes = {spec.name for spec in scenario(*where).slo if not spec.is_empty}
    return {
        "good": numbers["promised_good_frac"],
        "goodput_per_s": numbers["promised_good_frac"] * numbers["requests_per_s"],
        "by_class": {name: float(works["good"][works["slo_class"] == name].mean()) for name in sorted(classes)},
        "num_unsent": numbers["num_unsent"],
        "batch_p90_e2e_s": _p90(works, "batch"),
        "wall_s": time.perf_counter() - start_s,
    }


def _p90(works: Mapping[str, Any], name: str) -> float:
    values = sorted(works["e2e_s"][works["slo_class"] == name].tolist())
    return values[int(0.9 * (len(values) - 1))] if values else float("nan")


class Question:
    """How much load one policy carries."""

    def __init__(self, where: tuple[str, Path | None, int], policy: Mapping[str, Any], seeds: Sequence[int]) -> None:
        self.where, self.policy, self.seeds = where, policy, seeds
        self.played: dict[int, list[dict[str, Any]]] = {}

    def at(self, pool: ProcessPoolExecutor, step: int) -> float:
        """Return the mean share of good requests at a step of the grid of loads."""
        if step not in self.played:
            points = [(GRID**step, seed) for seed in self.seeds]
            self.played[step] = list(pool.map(partial(run, self.where, self.policy), points))
        return statistics.mean(one["good"] for one in self.played[step])

    def most(self, pool: ProcessPoolExecutor, level: float, start: int = 0) -> int:
        """Return the largest step of the grid that is carried, found by steps that double and then halve."""
        low, jump = start, 8
        while self.at(pool, low) < level:
            low -= jump
            if low < -64:
                return low
        high = low + jump
        while self.at(pool, high) >= level and high < 64:
            low, high = high, high + jump
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.at(pool, middle) >= level else (low, middle)
        return low

    def answer(self, pool: ProcessPoolExecutor, beyond: int) -> dict[str, Any]:
        """Return what there is to tell; `beyond` is the step of 130% of the baseline's load."""
        found: dict[str, Any] = {"policy": self.policy.get("name", self.policy["id"])}
        start = 0
        for level in LEVELS:
            start = self.most(pool, level, start)
            found[f"load_at_{level:.0%}"] = GRID**start
        self.at(pool, beyond)
        goods = [one["good"] for one in self.played[beyond]]
        ends = interval(goods, 0.95)
        found |= {"good_at_130%": statistics.mean(goods), "low": ends.low, "high": ends.high}
        found["by_class_at_130%"] = {
            name: statistics.mean(one["by_class"][name] for one in self.played[beyond])
            for name in self.played[beyond][0]["by_class"]
        }
        found["goodput_per_s_at_130%"] = statistics.mean(one["goodput_per_s"] for one in self.played[beyond])
        found["batch_p90_e2e_s_at_130%"] = statistics.mean(one["batch_p90_e2e_s"] for one in self.played[beyond])
        found["num_runs"] = sum(map(len, self.played.values()))
        return found


def study(
    where: tuple[str, Path | None, int], chosen: Iterable[Mapping[str, Any]], num_seeds: int
) -> list[dict[str, Any]]:
    """Ask the question of every policy, the baseline first."""
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor() as pool:
        beyond = 0
        for policy in chosen:
            question = Question(where, policy, range(num_seeds))
            if policy["id"] == BASELINE and not rows:
                baseline = question.most(pool, LEVELS[0])
                beyond = baseline + round(5.4)  # 1.05 to this power is 1.3
            try:
                rows.append(question.answer(pool, beyond))
            except Exception as error:
                rows.append({"policy": policy["id"], "error": f"{type(error).__name__}: {error}"})
            print(_line(rows[-1], rows[0]), file=sys.stderr, flush=True)
    return rows


def _line(row: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    if "error" in row:
        return f"{row['policy']:32} {row['error'][:120]}"
    ratio = row["load_at_90%"] / base["load_at_90%"]
    classes = " ".join(f"{name} {share:.2f}" for name, share in row["by_class_at_130%"].items())
    return (
        f"{row['policy']:32} 90%: {row['load_at_90%']:.2f} ({ratio:.2f}x)  98%: {row['load_at_98%']:.2f}  "
        f"at 130%: {row['good_at_130%']:.3f} [{row['low']:.3f}, {row['high']:.3f}]  {classes}"
    )


def main() -> None:
    """Read the command line and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the recorded traces; the shipped ones without")
    parser.add_argument("--part", choices=("dev", "unseen"), default="dev")
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--policy", action="append", help="only these, beside the baseline")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    where = (asked.part, asked.data, asked.instances)
    chosen = [one for one in policies() if not asked.policy or one["id"] in (BASELINE, *asked.policy)]
    start_s = time.perf_counter()
    rows = study(where, chosen, asked.seeds)
    if asked.json:
        facts = {
            "part": asked.part,
            "instances": asked.instances,
            "seeds": asked.seeds,
            "recorded": asked.data is not None,
        }
        about = {"machine": platform.machine(), "python": platform.python_version(), "grid": GRID}
        print(json.dumps({**facts, **about, "wall_s": time.perf_counter() - start_s, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
