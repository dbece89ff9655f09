"""A learned dispatching policy, static rules and a constraint solver on the same generated job shops.

Numbers are makespans over the larger of the longest job and the heaviest machine, a lower bound.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from headway.app.reproduce.alone import alone
from headway.app.reproduce.claim import Numbers
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.giffler_thompson import GifflerThompson
from headway.policies.shop.problem import Problem
from headway.policies.shop.rl_cp_jssp import RlCpJssp
from headway.policies.shop.seats import Solver
from headway.sim.shop.instances.generate import random_job_shop

Size: TypeAlias = tuple[int, int]
RULES = ("fifo", "spt", "mopnr", "mwkr")
SMALL: tuple[Size, ...] = ((15, 15), (20, 15), (20, 20), (30, 15), (30, 20), (50, 15), (50, 20), (100, 20))
TIMED: tuple[Size, ...] = ((20, 15), (50, 20), (100, 20))
QUICK: tuple[Size, ...] = ((15, 15), (100, 20))
NUM_SHOPS = 2
"""Of each size and seed."""
BUDGET_S = 4.0
MANY = 1_000_000
LONG_S = 3600.0


def against_rules(seed: int, quick: bool) -> Numbers:
    """Measure rules and the policy, greedy and with 16 samples, over all sizes."""
    solvers: dict[str, Solver] = {rule: GifflerThompson(rule=rule) for rule in RULES}
    samples = 5 if quick else 16
    solvers |= {"greedy": RlCpJssp(), "sampled": RlCpJssp(samples=samples), "published": RlCpJssp(weights="published")}
    sizes = QUICK if quick else SMALL
    return _by_size({name: _unhurried(solver) for name, solver in solvers.items()}, sizes, seed, 1 if quick else 2)


def at_equal_time(seed: int, quick: bool) -> Numbers:
    """Measure the policy and CP-SAT with one worker, once as long as the greedy policy takes, once for seconds."""
    budget_s = BUDGET_S / 4 if quick else BUDGET_S
    _warm()
    with alone():
        return _by_size(
            {
                "greedy": _unhurried(RlCpJssp()),
                "cp-sat as long as greedy": _as_long_as_greedy,
                "sampled": _within(RlCpJssp(samples=MANY), budget_s),
                "finished": _within(RlCpJssp(finish=True), budget_s),
                "cp-sat": _within(CpSat(workers=1), budget_s),
            },
            TIMED[-1:] if quick else TIMED,
            seed,
            1 if quick else NUM_SHOPS,
        )


Play: TypeAlias = Callable[[Problem, int], float]
"""(problem, seed) -> makespan over the bound."""


def _by_size(plays: Mapping[str, Play], sizes: tuple[Size, ...], seed: int, num_shops: int) -> Numbers:
    """Play all sizes; contestants take turns on each shop."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in plays}
    for num_jobs, num_machines in sizes:
        for number in range(num_shops):
            rng = np.random.default_rng([seed, num_jobs, num_machines, number])
            problem = random_job_shop(num_jobs, num_machines, rng)
            for name, play in plays.items():
                found[name].setdefault(f"over_bound_{num_jobs}x{num_machines}", []).append(play(problem, seed))
    return {name: _with_mean({size: float(np.mean(by)) for size, by in each.items()}) for name, each in found.items()}


def _with_mean(by_size: dict[str, float]) -> dict[str, float]:
    return {"over_bound": float(np.mean(list(by_size.values()))), **by_size}


def _unhurried(solver: Solver) -> Play:
    return _within(solver, LONG_S)


def _within(solver: Solver, budget_s: float) -> Play:
    def play(problem: Problem, seed: int) -> float:
        result = solver.solve(problem, budget_s=budget_s, rng=np.random.default_rng(seed))
        return over_bound(problem, result.objective)

    return play


def _as_long_as_greedy(problem: Problem, seed: int) -> float:
    watch = Stopwatch(LONG_S)
    RlCpJssp().solve(problem, budget_s=LONG_S, rng=np.random.default_rng(seed))
    return _within(CpSat(workers=1), watch.spent_s)(problem, seed)


def over_bound(problem: Problem, makespan: float | None) -> float:
    """Return a makespan over the lower bound; without a schedule, that of one operation after the other."""
    jobs, machines = [0] * len(problem.jobs), [0] * problem.num_resources
    for task in problem.tasks:
        mode = task.modes[0]
        jobs[task.job] += mode.duration
        machines[mode.needs[0][0]] += mode.duration
    return (sum(jobs) if makespan is None else makespan) / max(*jobs, *machines)


@functools.cache
def _warm() -> None:
    """Import and compile before anything is timed."""
    problem = random_job_shop(4, 3, np.random.default_rng(0))
    for solver in (RlCpJssp(samples=20, finish=True), CpSat(workers=1)):
        solver.solve(problem, budget_s=LONG_S, rng=np.random.default_rng(0))
