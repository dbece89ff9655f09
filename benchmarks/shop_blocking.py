"""How well the learned rule of shops without buffers does on public job shops, beside dispatching rules.

Lawrence's instances (and others by ``--families``) are played without buffers, each with so many draws of interruptions
at each probability, the same for every rule. A rule's number is the mean over instances of its makespan over that of
the learned rule in the same shop; intervals are bootstrapped over instances. CP-SAT is asked for the blocking optimum
where there are no interruptions and instances are small (``--optimum-s``).

    python benchmarks/shop_blocking.py --data DIR --json
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headway.core.drivers import simulate
from headway.policies.shop.blocking_rule import RULES, BlockingRule
from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.isbjssp_gnn import IsbjsspGnn
from headway.policies.shop.problem import Problem
from headway.sim.shop.blocking_instances import durations, problem_of, routes_of
from headway.sim.shop.blocking_truth import draw
from headway.sim.shop.blocking_world import BlockingWorld, Route
from headway.sim.shop.instances.door import read

PROBS = (0.0, 0.05, 0.1, 0.2)
POLICIES: dict[str, Callable[[], Any]] = {
    "learned": IsbjsspGnn,
    **{rule: partial(BlockingRule, rule=rule) for rule in RULES},
}
Floats = npt.NDArray[np.float64]


def instances(folder: Path, families: list[str]) -> list[Problem]:
    """Return the job shops of these families."""
    found = read(folder / "jssp.jsonl.gz")
    assert isinstance(found, list)
    return [one for one in found if one.name.rstrip("0123456789") in families]


def makespans(routes: list[Route], fail_prob: float, num_draws: int) -> dict[str, float]:
    """Return the mean makespan of every policy over draws of interruptions."""
    found: dict[str, list[float]] = {name: [] for name in POLICIES}
    for seed in range(num_draws if fail_prob else 1):
        hidden = draw(durations(routes), fail_prob, np.random.default_rng(seed))
        for name, make in POLICIES.items():
            world = BlockingWorld(routes, hidden)
            simulate(world, make(), seed=seed)
            found[name].append(world.makespan_s)
    return {name: float(np.mean(one)) for name, one in found.items()}


def interval(values: Floats, num_draws: int = 2000) -> list[float]:
    """Return the mean and the ends of its bootstrapped 95% interval."""
    means = np.random.default_rng(0).choice(values, (num_draws, len(values))).mean(axis=1)
    return [round(float(one), 4) for one in (values.mean(), *np.quantile(means, [0.025, 0.975]))]


def over_learned(played: list[dict[str, float]]) -> dict[str, list[float]]:
    """Return each rule's makespan over the learned one's, and those of the rules' mean and of the best in the mean."""
    ratios = {rule: np.array([one[rule] / one["learned"] for one in played]) for rule in RULES}
    best = min(RULES, key=lambda rule: float(ratios[rule].mean()))
    found = {rule: interval(ratios[rule]) for rule in RULES}
    return found | {"mean rule": interval(np.mean(list(ratios.values()), axis=0)), f"best rule ({best})": found[best]}


def gaps(problems: list[Problem], played: list[dict[str, float]], budget_s: float) -> dict[str, Any]:
    """Return how far policies are from the best blocking schedule that CP-SAT finds, where there are 50 operations."""
    rows = []
    for problem, makespan in zip(problems, played, strict=True):
        if problem.num_tasks <= 50:
            blocking = problem_of(routes_of(problem), problem.name)
            result = CpSat(workers=1).solve(blocking, budget_s=budget_s, rng=np.random.default_rng(0))
            if result.objective is not None:
                ruled = float(np.mean([makespan[rule] for rule in RULES]))
                rows.append(
                    {"name": problem.name, "cp_sat": result.objective, "bound": result.bound, "status": result.status}
                    | {"learned": makespan["learned"], "mean rule": round(ruled, 1)}
                )
    return {"budget_s": budget_s, "instances": rows}


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder with jssp.jsonl.gz")
    parser.add_argument("--families", default="la", help="of instances, with commas: la, ft, abz, orb, ta, ...")
    parser.add_argument("--draws", type=int, default=50, help="of interruptions, per instance and probability")
    parser.add_argument("--optimum-s", type=float, default=0.0, help="seconds of CP-SAT per small instance; 0 for none")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.data is None:
        print("not measured: it needs public instances (--data DIR)")
        return
    start_s = time.process_time()
    problems = instances(options.data, options.families.split(","))
    routes = [routes_of(problem) for problem in problems]
    played = {prob: [makespans(one, prob, options.draws) for one in routes] for prob in PROBS}
    results: dict[str, Any] = {
        "over_learned": {f"{prob:.0%}": over_learned(one) for prob, one in played.items()},
        "mean_makespan": {
            f"{prob:.0%}": {name: round(float(np.mean([p[name] for p in one])), 1) for name in POLICIES}
            for prob, one in played.items()
        },
        "without_interruptions": dict(zip([one.name for one in problems], played[0.0], strict=True)),
    }
    if options.optimum_s:
        results["optimum"] = gaps(problems, played[0.0], options.optimum_s)
    machine = {"processor": platform.machine(), "python": platform.python_version()}
    about = {"families": options.families, "instances": [one.name for one in problems], "draws": options.draws}
    if options.json:
        cpu_s = round(time.process_time() - start_s, 1)
        print(json.dumps({"machine": machine, "about": about, "cpu_s": cpu_s, "results": results}, indent=1))
        return
    for prob, rows in results["over_learned"].items():
        print(f"{prob} of the operations interrupt their machine: makespan over that of the learned rule")
        for name, (mean, low, high) in rows.items():
            print(f"    {name:20} {mean:.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
