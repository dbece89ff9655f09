"""Studies as report pages and figures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from headway.app.studies import plans, tables
from headway.app.studies.capacity import Capacity
from headway.app.studies.carry import Search
from headway.app.studies.cheapest import Ranking
from headway.app.studies.compare import Comparison
from headway.app.studies.goal import Goal
from headway.app.studies.recipe import Recipe
from headway.core.report import Report
from headway.core.scenario import Columns, Outcome
from headway.plots.chart import Bound, Chart, Figure, Panels
from headway.plots.charts.against_load import against_load
from headway.plots.charts.cdf import cdf
from headway.plots.charts.compare import compare
from headway.plots.charts.gantt import gantt
from headway.plots.charts.timeline import timeline
from headway.plots.page import Page
from headway.plots.palette import Palette
from headway.plots.provenance import provenance
from headway.plots.quantities import label_of, quantity, unit_of
from headway.plots.save import save
from headway.plots.tables import Amount

TIMES = ("ttft_s", "tpot_s", "e2e_s", "queue_s", "flow_time_s", "tardiness_s")
"""Whose distributions are drawn."""
AGAINST_LOAD = (
    "goodput_frac", "p99_ttft_s", "p99_tpot_s", "p99_e2e_s", "output_tokens_per_s", "busy_frac",
    "on_time_frac", "mean_flow_time_s", "p99_flow_time_s", "mean_tardiness_s", "machine_busy_frac",
)  # fmt: skip
"""What is drawn against the load."""
MAX_SPANS = 400
"""Spans that a first look at a timeline shows; the Perfetto file holds all."""


def run_page(outcome: Outcome, result: dict[str, Any], path: Path, *, about: str = "", command: str = "") -> None:
    """Write the report of one run.

    Parameters
    ----------
    outcome : Outcome
        What it came to.
    result : dict
        The same as `result_of` tells it.
    path : Path
        Where to.
    about : str
        One sentence for people.
    command : str
        What was typed.
    """
    facts = {"Policy": result["name"], "Load": f"{result['load']:g}", "Seed": str(result["seed"])}
    page = Page(f"{result['name']} in virtual time", about=about, facts=facts | provenance(_now()))
    page.section("Numbers", tables.facts_table(result), tables.times_table(result))
    if result["attainment"]:
        page.section("Objectives", tables.attainment_table(result))
    page.section("Times", *distributions({result["name"]: outcome.works}, bounds_of(outcome.report)))
    over_time = timeline(outcome.samples) if len(outcome.samples.get("at_s", ())) else None
    if over_time is not None:
        page.section("Over time", over_time)
    if len(outcome.spans.get("start_s", ())):
        page.section("What ran where", gantt(_first(outcome.spans)))
    _reproduce(page, command, result["recipe"]).write(path)


def run_figure(outcome: Outcome, result: dict[str, Any], path: Path) -> None:
    """Draw the distributions of the times of one run on one axis."""
    title = f"{result['name']}, load {result['load']:g}, seed {result['seed']}"
    values = {label_of(metric): outcome.works[metric] for metric in TIMES if metric in outcome.works}
    save(cdf("time_s", values, title=title, log=True), path)


def comparison_page(found: Comparison, path: Path, *, command: str = "") -> None:
    """Write the report of a comparison: a table and its differences per load, curves against load, distributions."""
    recipe = found.recipe
    palette = Palette(policy.label for policy in recipe.policies)
    facts = {"Policies": ", ".join(policy.label for policy in recipe.policies), "Baseline": found.baseline}
    facts |= {"Seeds": ", ".join(map(str, recipe.seeds))}
    page = Page("Policies compared", about=recipe.about, facts=facts | provenance(_now()), palette=palette)
    page.section("Numbers", tables.legend(found), *(tables.comparison_table(found, load) for load in recipe.loads))
    if len(recipe.policies) > 1 and len(recipe.seeds) > 1:
        paragraph = "Mean differences over equal seeds with 95% intervals."
        page.section("Differences", paragraph, *(tables.difference_table(found, load) for load in recipe.loads))
    charts = against(found)
    if charts:
        page.section("Against load" if len(recipe.loads) > 1 else "Side by side", *charts)
    for load in recipe.loads:
        works = {policy.label: _together(found, policy.label, load) for policy in recipe.policies}
        drawn = distributions(works, bounds_of(found.results[found.baseline, load][0].report))
        if drawn:
            page.section(f"Times at load {load:g}", *drawn)
    _reproduce(page, command, recipe.path).write(path)


def comparison_figure(found: Comparison, path: Path) -> None:
    """Draw the curves of a comparison against load, or its bars where there is one load."""
    palette = Palette(policy.label for policy in found.recipe.policies)
    charts = against(found)
    if len(found.recipe.loads) > 1:
        save(_panels("Policies compared", charts[:4]), path, palette)
    else:
        save(charts[0], path, palette)


def load_page(
    recipe: Recipe, todo: Sequence[Search], found: Sequence[Capacity], path: Path, *, command: str = ""
) -> None:
    """Write the report of how much each policy carries."""
    page = Page("Largest load within the objectives", about=recipe.about, facts=_facts(recipe))
    tried = {search.job.policy.label: _tried(capacity) for search, capacity in zip(todo, found, strict=True)}
    level = [Bound(f"{todo[0].goal.attain_frac:.0%} must be good", todo[0].goal.attain_frac, "y")]
    paragraph = "A run that was stopped early counts with the most that it could still have come to."
    page.section("Answer", plans.load_table(list(todo), list(found)))
    page.section("Share of good requests", against_load("goodput_frac", tried, bounds=level), paragraph)
    page.section("Search", *(plans.load_log_table(*pair) for pair in zip(todo, found, strict=True)))
    _reproduce(page, command, recipe.path).write(path)


def cost_page(recipe: Recipe, goal: Goal, ranking: Ranking, path: Path, *, command: str = "") -> None:
    """Write the report of what carries a load, the cheapest first."""
    page = Page(f"What carries load {goal.load:g}", about=recipe.about, facts=_facts(recipe))
    page.section("Ranking", plans.cost_table(ranking), *plans.notes_of(ranking))
    prices = {
        f"{found.instances} x {found.option.rig.label}, {found.option.policy.label}": Amount(
            (found.instances or 0) * found.option.usd_per_h
        )
        for found in ranking.found
    }
    if prices:
        page.section("Price", compare("usd_per_h", prices, title="USD per hour"))
    if ranking.left_out:
        page.section("Left out", plans.left_out_table(ranking))
    _reproduce(page, command, recipe.path).write(path)


def against(found: Comparison) -> list[Chart]:
    """Return metrics against load, a curve per policy, or side by side where there is one load."""
    metrics = [metric for metric in AGAINST_LOAD if _exists(found, metric)]
    metrics = metrics or [metric for metric in found.metrics if metric.startswith("mean_")]
    one_load = found.recipe.loads[0] if len(found.recipe.loads) == 1 else None
    return [_side_by_side(found, m, one_load) if one_load else _over_loads(found, m) for m in metrics]


def distributions(works: dict[str, Columns], bounds: dict[str, list[Bound]]) -> list[Chart]:
    """Return the distributions of the times that works have, a curve per name."""
    charts = []
    for metric in TIMES:
        values = {name: columns[metric] for name, columns in works.items() if metric in columns}
        if any(np.isfinite(column).any() for column in values.values()):
            charts.append(cdf(metric, values, bounds=bounds.get(metric, ())))
    return charts


def bounds_of(report: Report) -> dict[str, list[Bound]]:
    """Return the objectives of a run as lines, by metric."""
    found: dict[str, list[Bound]] = {}
    for row in report.slos:
        name = f"{row.slo_class}: {row.quantile:.0%} within {quantity(row.bound, unit_of(row.metric))}"
        found.setdefault(row.metric, []).append(Bound(name, row.bound))
    return found


def _over_loads(found: Comparison, metric: str) -> Chart:
    loads = found.recipe.loads
    sweeps: dict[str, Columns] = {}
    for policy in found.recipe.policies:
        means = [found.mean(policy.label, load, metric) for load in loads]
        columns = {"load": np.array(loads), "value": np.array([mean.mean for mean in means])}
        if len(found.recipe.seeds) > 1:
            columns |= {"low": np.array([mean.low for mean in means]), "high": np.array([mean.high for mean in means])}
        sweeps[policy.label] = columns
    return against_load(metric, sweeps)


def _side_by_side(found: Comparison, metric: str, load: float) -> Chart:
    amounts = {}
    for policy in found.recipe.policies:
        mean = found.mean(policy.label, load, metric)
        ends = (mean.low, mean.high) if mean.num > 1 else (None, None)
        amounts[policy.label] = Amount(mean.mean, unit_of(metric), *ends)
    return compare(metric, amounts)


def _together(found: Comparison, policy: str, load: float) -> Columns:
    """Put the quantiles of all seeds together: each stands for an equal share of the works of its run."""
    results = found.results[policy, load]
    metrics = {metric for result in results for metric in result.quantiles}
    return {m: np.concatenate([np.array(result.quantiles.get(m, ())) for result in results]) for m in metrics}


def _exists(found: Comparison, metric: str) -> bool:
    return any(np.isfinite(found.values(policy, load, metric)).any() for policy, load in found.results)


def _tried(found: Capacity) -> Columns:
    points = sorted(found.points, key=lambda point: point.load)
    shares = np.array([point.verdict.good_frac for point in points])
    return {"load": np.array([point.load for point in points]), "value": shares}


def _facts(recipe: Recipe) -> dict[str, str]:
    return {"Seeds": ", ".join(map(str, recipe.seeds))} | provenance(_now())


def _panels(title: str, charts: Sequence[Chart]) -> Figure:
    return charts[0] if len(charts) == 1 else Panels(title, tuple(charts))


def _first(spans: Columns) -> Columns:
    order = np.argsort(spans["start_s"], kind="stable")[:MAX_SPANS]
    return {name: column[order] for name, column in spans.items()}


def _reproduce(page: Page, command: str, recipe: str) -> Page:
    file = Path(recipe)
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return page.reproduce(command, text) if command else page


def _now() -> datetime:
    return datetime.now().astimezone()
