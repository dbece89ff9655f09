"""Rules for one machine on made-up instances, against proven optima."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headway.app.reproduce.claim import Numbers
from headway.policies.shop.lawler import Lawler
from headway.policies.shop.making import single_machine
from headway.policies.shop.smtt_expression import evolved
from headway.policies.shop.smtt_rules import Rule, sequence, total_tardiness
from headway.sim.shop.instances.due_classes import SPREADS, TARDINESS, class_of, generated

Floats = NDArray[np.float64]
Instance: TypeAlias = tuple[tuple[float, float], Floats, Floats]
"""Class, durations, due dates."""
RULES: tuple[Rule, ...] = ("edd", "eddc", "mdd", "mddc", "mddc-plain", "psk", "spt")
WATCHED = ((0.6, 0.2), (0.8, 0.2))
"""The classes (tardiness, spread of due dates) of which numbers are published."""
NUM_CLASSES = len(TARDINESS) * len(SPREADS)
OPTIMUM_BUDGET_S = 60.0


def made(num_jobs: int, per_class: int, law: Literal["uniform", "normal"], seed: int) -> Iterator[Instance]:
    """Draw so many instances of each class."""
    rng = np.random.default_rng([seed, num_jobs, law == "normal"])
    for number in range(per_class * NUM_CLASSES):
        kind = class_of(number)
        yield kind, *generated(num_jobs, *kind, rng, law)


def optimum(durations: Floats, due: Floats) -> float | None:
    """Return the least total tardiness; None when it is not proven in a minute."""
    problem = single_machine("made up", durations.astype(int).tolist(), due.astype(int).tolist())
    found = Lawler().solve(problem, budget_s=OPTIMUM_BUDGET_S, rng=np.random.default_rng(0))
    return found.bound


def orders(durations: Floats, due: Floats) -> dict[str, NDArray[np.int64]]:
    """Return the order of every rule."""
    found: dict[str, NDArray[np.int64]] = {rule: sequence(rule, durations, due) for rule in RULES}
    return {
        **found,
        "eddc-printed": sequence("eddc-printed", durations, due),
        "evolved": evolved()(durations, due, 0.0),
    }


def gaps(num_jobs: int, per_class: int, law: Literal["uniform", "normal"], seed: int, quick: bool) -> Numbers:
    """Return by rule the mean gap to the optimum, that of sums, and that in the classes watched.

    Instances whose optimum is 0 are left out, as published.
    """
    found: dict[str, list[float]] = {}
    sums: dict[str, float] = {}
    total = 0.0
    kinds: list[tuple[float, float]] = []
    for kind, durations, due in made(num_jobs, max(per_class // (8 if quick else 1), 1), law, seed):
        best = optimum(durations, due)
        if not best:
            continue
        total += best
        kinds.append(kind)
        for rule, order in orders(durations, due).items():
            cost = total_tardiness(order, durations, due)
            found.setdefault(rule, []).append(cost / best - 1.0)
            sums[rule] = sums.get(rule, 0.0) + cost
    return {rule: _numbers(np.array(several), kinds, sums[rule] / total - 1.0) for rule, several in found.items()}


def _numbers(gap: Floats, kinds: list[tuple[float, float]], of_sums: float) -> dict[str, float]:
    numbers = {"mean_gap_frac": float(gap.mean()), "sum_gap_frac": of_sums}
    for tardiness, spread in WATCHED:
        own = gap[[kind == (tardiness, spread) for kind in kinds]]
        numbers[f"class_{10 * tardiness:.0f}_{10 * spread:.0f}_gap_frac"] = (
            float(own.mean()) if len(own) else float("nan")
        )
    return numbers


def large(seed: int, quick: bool) -> Numbers:
    """Return by rule what it costs at 500 jobs beside the cheapest of all rules, and the time it takes."""
    costs: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    for _, durations, due in made(500, 1, "uniform", seed):
        cost = {rule: total_tardiness(order, durations, due) for rule, order in orders(durations, due).items()}
        for rule in RULES:
            times.setdefault(rule, []).append(_seconds(rule, durations, due, 1 if quick else 3))
        if min(cost.values()) > 0:
            for rule in RULES:
                costs.setdefault(rule, []).append(cost[rule] / min(cost.values()))
    return {
        rule: {"mean_over_best": float(np.mean(costs[rule])), "rule_s": float(np.median(times[rule]))} for rule in RULES
    }


def units(seed: int, quick: bool) -> Numbers:
    """Return what MDDC costs over the optimum when the clock ticks in thousandths of the unit of durations."""
    ways = {"mddc": (1.0, False), "thousandths": (1000.0, False), "normalised": (1000.0, True)}
    gap: dict[str, list[float]] = {way: [] for way in ways}
    other: dict[str, list[bool]] = {way: [] for way in ways}
    for _, durations, due in made(20, 3 if quick else 20, "uniform", seed):
        best, plain = optimum(durations, due), sequence("mddc", durations, due)
        if not best:
            continue
        for way, (unit, normalise) in ways.items():
            order = sequence("mddc", unit * durations, unit * due, normalise=normalise)
            gap[way].append(total_tardiness(order, durations, due) / best - 1.0)
            other[way].append(bool((order != plain).any()))
    return {
        way: {"mean_gap_frac": float(np.mean(gap[way])), "other_order_frac": float(np.mean(other[way]))} for way in ways
    }


def _seconds(rule: Rule, durations: Floats, due: Floats, times: int) -> float:
    """Return how long a rule takes, once compiled: the quickest of some runs."""
    spent = []
    for _ in range(times):
        begin_s = time.perf_counter()
        sequence(rule, durations, due)
        spent.append(time.perf_counter() - begin_s)
    return min(spent)
