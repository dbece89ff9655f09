"""Plans as tables and as plain data."""

from __future__ import annotations

import math
from typing import Any

from headway.app.studies.capacity import Capacity
from headway.app.studies.carry import Search
from headway.app.studies.cheapest import Found, Ranking
from headway.app.studies.goal import Goal
from headway.app.studies.recipe import Recipe
from headway.app.studies.result import versions
from headway.plots.quantities import label_of
from headway.plots.tables import Amount, Cell, Column, Table

TOLD = ("p99_ttft_s", "p99_tpot_s")
"""Numbers told of an answer in a table."""


def load_table(todo: list[Search], found: list[Capacity]) -> Table:
    """Return the largest load of each policy."""
    heads = ["load", "requests", "good", *map(label_of, TOLD), "tried"]
    rows: list[list[Cell]] = []
    for search, capacity in zip(todo, found, strict=True):
        best = capacity.best
        numbers = best.numbers if best else {}
        at_least = "≥ " if capacity.fails_at is None else ""
        load = f"{at_least}{capacity.load:.3g}" if capacity.load is not None else None
        row: list[Cell] = [search.job.policy.label, load, Amount(best.rate_per_s if best else math.nan, "/s")]
        row.append(Amount(best.good_frac if best else math.nan, "%"))
        row += [Amount.of(name, numbers.get(name, math.nan)) for name in TOLD]
        rows.append([*row, len(capacity.points)])
    return Table([Column("", "left"), *(Column(head, "right") for head in heads)], rows)


def load_log_table(search: Search, found: Capacity) -> Table:
    """Return all loads that were tried for one policy, in their order."""
    rows: list[list[Cell]] = []
    for point in found.points:
        verdict = point.verdict
        good = f"{'' if verdict.whole or verdict.passed else '≤ '}{Amount(verdict.good_frac, '%', digits=4)}"
        verdict_text = "carried" if verdict.passed else "too much"
        rows.append([Amount(point.load), good, verdict_text, verdict.num_runs, Amount(verdict.wall_s, "s")])
    heads: list[Column | str] = [Column("load", "right"), Column("good", "right"), Column("", "left"), "runs", "took"]
    return Table(heads, rows, f"what was tried: {search.job.policy.label}")


def cost_table(ranking: Ranking) -> Table:
    """Return the options that carry the load, the cheapest first."""
    heads = ["USD/h", "good", *map(label_of, TOLD)]
    rows: list[list[Cell]] = []
    for found in ranking.found:
        verdict, instances = found.verdict, found.instances or 0
        if verdict is None:
            continue
        option = found.option
        row: list[Cell] = [f"{instances} x {option.rig.label}", option.policy.label]
        row.append(Amount(instances * option.usd_per_h))
        row.append(Amount(verdict.good_frac, "%"))
        row += [Amount.of(name, verdict.numbers.get(name, math.nan)) for name in TOLD]
        rows.append(row)
    first = [Column("instances", "left"), Column("policy", "left")]
    return Table([*first, *(Column(head, "right") for head in heads)], rows)


def left_out_table(ranking: Ranking) -> Table:
    """Return the options that are not ranked, with the reasons."""
    whom: dict[tuple[str, str], list[str]] = {}
    for found in ranking.left_out:
        whom.setdefault((found.option.policy.label, found.why), []).append(found.option.rig.label)
    rows: list[list[Cell]] = [[", ".join(labels), policy, why] for (policy, why), labels in whom.items()]
    return Table([Column("left out", "left"), Column("policy", "left"), Column("why", "left")], rows)


def notes_of(ranking: Ranking) -> list[str]:
    """Return what to know before quoting numbers of the ranking."""
    return list(dict.fromkeys(note for found in ranking.found for note in found.option.notes))


def load_plain(recipe: Recipe, goal: Goal, todo: list[Search], found: list[Capacity], wall_s: float) -> dict[str, Any]:
    """Return the largest loads as plain data."""
    answers = [_capacity(search, capacity) for search, capacity in zip(todo, found, strict=True)]
    own = {"tolerance_frac": goal.tolerance_frac, "max_load": goal.max_load, "policies": answers}
    return {**_head(recipe, goal), **own, "versions": versions(), "wall_s": wall_s}


def cost_plain(recipe: Recipe, goal: Goal, ranking: Ranking, wall_s: float) -> dict[str, Any]:
    """Return a ranking as plain data."""
    ranked = [_option(found) for found in ranking.found]
    own = {"load": goal.load, "rank": goal.rank, "best": ranked[0] if ranked else None, "ranking": ranked}
    left_out = [_option(found) for found in ranking.left_out]
    return {**_head(recipe, goal), **own, "left_out": left_out, "versions": versions(), "wall_s": wall_s}


def _head(recipe: Recipe, goal: Goal) -> dict[str, Any]:
    about = {"recipe": recipe.path, "about": recipe.about, "family": recipe.family}
    return {**about, "goal": goal.goal, "attain_frac": goal.attain_frac, "seeds": recipe.seeds}


def _capacity(search: Search, found: Capacity) -> dict[str, Any]:
    policy, best = search.job.policy, found.best
    return {
        "policy": policy.id,
        "params": policy.params,
        "name": policy.label,
        "load": found.load,
        "requests_per_s": best.rate_per_s if best else None,
        "good_frac": best.good_frac if best else None,
        "fails_at_load": found.fails_at,
        "numbers": best.numbers if best else {},
        "log": [{"load": point.load, **_verdict(point.verdict)} for point in found.points],
    }


def _option(found: Found) -> dict[str, Any]:
    option, verdict = found.option, found.verdict
    rig, policy, instances = option.rig, option.policy, found.instances
    return {
        "accelerator": rig.accelerator,
        "tensor_parallel": rig.tensor_parallel,
        "pipeline_parallel": rig.pipeline_parallel,
        "instances": instances,
        "num_accelerators": instances * rig.num_accelerators if instances else None,
        "usd_per_h": instances * option.usd_per_h if instances else None,
        "policy": policy.id,
        "params": policy.params,
        "name": policy.label,
        "good_frac": verdict.good_frac if verdict else None,
        "requests_per_s": verdict.rate_per_s if verdict else None,
        "numbers": verdict.numbers if verdict else {},
        "why": found.why,
        "notes": option.notes,
        "log": [{"instances": attempt.instances, **_verdict(attempt.verdict)} for attempt in found.attempts],
    }


def _verdict(verdict: Any) -> dict[str, Any]:
    names = ("passed", "good_frac", "whole", "num_runs", "wall_s")
    return {name: getattr(verdict, name) for name in names}
