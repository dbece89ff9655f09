"""Studies as tables: the same for the terminal and for a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from headway.app.studies.compare import NOISE_FRAC, Comparison
from headway.app.studies.result import PERCENTS
from headway.app.studies.statistics import Interval
from headway.plots.quantities import label_of, number, quantity, scale_of, unit_of
from headway.plots.tables import Amount, Cell, Column, Table

SHOWN = (
    "p50_ttft_s", "p99_ttft_s", "p50_tpot_s", "p99_tpot_s", "p99_itl_s", "p50_e2e_s", "p99_e2e_s", "p99_queue_s",
    "mean_jct_s", "p95_jct_s", "sessions_in_time_frac",
    "goodput_frac", "possible_frac", "of_possible_frac", "output_tokens_per_s", "busy_frac", "num_preemptions",
    "tune_tokens_per_s", "cost_usd_per_mtok",
    "makespan_s", "mean_flow_time_s", "p99_flow_time_s", "mean_tardiness_s", "p99_tardiness_s", "weighted_tardiness_s",
    "on_time_frac", "machine_busy_frac",
)  # fmt: skip
"""What a comparison shows of all that was measured; the rest is in its JSON."""
FACTS = (
    "num_requests", "num_finished", "num_rejected", "num_preemptions", "requests_per_s", "prompt_tokens_per_s",
    "output_tokens_per_s", "goodput_frac", "goodput_per_s", "sessions_per_s", "sessions_in_time_frac",
    "tune_tokens_per_s", "tune_steps", "tune_dropped", "busy_frac", "arithmetic_used_frac",
    "bandwidth_used_frac", "kv_used_frac", "prefix_hit_frac",
    "num_accelerators", "energy_j", "energy_j_per_output_token", "cost_usd", "cost_usd_per_mtok",
    "num_jobs", "num_tasks", "num_breakdowns", "makespan_s", "weighted_tardiness_s", "on_time_frac",
    "machine_busy_frac", "jobs_per_s",
)  # fmt: skip
"""What a single run shows beside its times."""
MARKS = {1: " ▲", -1: " ▼", 0: ""}
"""What is clearly better, and clearly worse."""


def times_table(result: dict[str, Any]) -> Table:
    """Return mean and percentiles of every time of one run."""
    heads = ["mean", *(f"p{percent}" for percent in PERCENTS)]
    rows: list[list[Cell]] = []
    for metric, found in result["percentiles_s"].items():
        if math.isfinite(found["mean"]):
            rows.append([label_of(metric), *(Amount(found[head], "s") for head in heads)])
    return Table([Column("", "left"), *(Column(head, "right") for head in heads)], rows)


def facts_table(result: dict[str, Any]) -> Table:
    """Return counts, throughput, energy and cost of one run: what there is of them."""
    numbers = result["numbers"]
    rows: list[list[Cell]] = []
    for name in FACTS:
        value = numbers.get(name, math.nan)
        if math.isfinite(value) and not (name in ("num_rejected", "num_preemptions") and not value):
            rows.append([label_of(name), int(value) if name.startswith("num_") else Amount.of(name, value)])
    if result["counts"]["refused"]:
        rows.append(["refused actions", result["counts"]["refused"]])
    return Table([Column("", "left"), Column("", "right")], rows)


def attainment_table(result: dict[str, Any]) -> Table:
    """Return how each objective fared."""
    rows: list[list[Cell]] = []
    for slo_class, metrics in result["attainment"].items():
        for metric, found in metrics.items():
            promise = f"{label_of(metric)} ≤ {quantity(found['bound'], unit_of(metric))}"
            met = Amount(found["met_frac"], "%")
            rows.append([slo_class, promise, Amount(found["quantile"], "%"), met, "✓" if found["attained"] else "✗"])
    heads: list[Column | str] = [
        Column("class", "left"),
        Column("objective", "left"),
        "promised",
        "met",
        Column("", "left"),
    ]
    return Table(heads, rows)


def replay_table(old: dict[str, dict[str, float]], new: dict[str, dict[str, float]]) -> Table:
    """Return the times of a recording and of its replay side by side."""
    heads = [f"{head} {when}" for head in ("p50", "p90", "p99") for when in ("then", "now")]
    rows: list[list[Cell]] = []
    for metric in (metric for metric in new if metric in old):
        both = [Amount(one[metric][head], "s") for head in ("p50", "p90", "p99") for one in (old, new)]
        rows.append([label_of(metric), *both])
    return Table([Column("", "left"), *(Column(head, "right") for head in heads)], rows)


def comparison_table(found: Comparison, load: float, metrics: Sequence[str] = ()) -> Table:
    """Return one load of a comparison: a row per metric, a column per policy."""
    rows: list[list[Cell]] = []
    for metric in metrics or _worth_showing(found):
        cells = [_marked(found, policy.label, load, metric) for policy in found.recipe.policies]
        rows.append([label_of(metric), *cells])
    heads = [Column(policy.label, "right") for policy in found.recipe.policies]
    return Table([Column("", "left"), *heads], rows, f"load {load:g}")


def difference_table(found: Comparison, load: float) -> Table:
    """Return how far each policy is from the baseline at one load, paired by seed."""
    others = [policy.label for policy in found.recipe.policies if policy.label != found.baseline]
    rows: list[list[Cell]] = []
    for metric in _worth_showing(found):
        by = [found.difference(policy, load, metric) for policy in others]
        marks = [MARKS[found.verdict(policy, load, metric)] for policy in others]
        rows.append([label_of(metric), *(spelled(metric, d) + m for d, m in zip(by, marks, strict=True))])
    caption = f"load {load:g}: difference from {found.baseline}"
    return Table([Column("", "left"), *(Column(name, "right") for name in others)], rows, caption)


def legend(found: Comparison) -> str:
    """Return what the marks of a comparison mean, and what can not be said."""
    num = len(found.recipe.seeds)
    if num == 1:
        return "One seed: no intervals, so no difference is certain. Try --seeds 5."
    if _is_fixed(found):
        return 'All seeds gave the same numbers: no intervals. Try window = "random" or arrivals in [trace].'
    against = (
        f"; ▲ better, ▼ worse than {found.baseline}, where the interval of the difference paired by seed excludes 0"
    )
    more = len(found.recipe.policies) > 1
    return f"Mean over {num} seeds ± half of the 95% interval{against if more else ''}."


def spelled(metric: str, found: Interval) -> str:
    """Write a mean with half its interval in one unit: ``"12.3 ± 0.5 ms"``."""
    unit = unit_of(metric)
    if math.isnan(found.mean) or math.isnan(found.half):
        return quantity(found.mean, unit)
    factor, name = scale_of(max(abs(found.mean), found.half), unit)
    half = 0.0 if found.half <= NOISE_FRAC * abs(found.mean) else found.half
    text = f"{number(found.mean / factor)} ± {number(half / factor, 2)}"
    return f"{text}{name}" if name.startswith("/") else f"{text} {name}".rstrip()


def _marked(found: Comparison, policy: str, load: float, metric: str) -> str:
    text = spelled(metric, found.mean(policy, load, metric))
    return text if policy == found.baseline else text + MARKS[found.verdict(policy, load, metric)]


def _worth_showing(found: Comparison) -> list[str]:
    """Choose the metrics that exist and are not zero everywhere."""
    every = {
        metric: [v for p, load in found.results for v in found.values(p, load, metric)] for metric in found.metrics
    }
    return [m for m in SHOWN if any(value and math.isfinite(value) for value in every.get(m, ()))]


def _is_fixed(found: Comparison) -> bool:
    """Whether nothing depends on the seed."""
    values = (found.values(p, load, m) for p, load in found.results for m in SHOWN)
    return all(len(set(map(repr, some))) == 1 for some in values)
