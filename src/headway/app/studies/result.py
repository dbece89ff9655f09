"""One run as one plain object: the shape that `headway run --json` prints and others read."""

from __future__ import annotations

import math
import platform
from typing import Any

import numpy as np

from headway import __version__
from headway.app.studies.job import Job, scenario_of
from headway.core.report import Report
from headway.core.scenario import Outcome

PERCENTS = (50, 90, 95, 99)
"""Percentiles that are told."""
GROUPS: dict[str, dict[str, str]] = {
    "counts": {
        "requests": "num_requests", "finished": "num_finished", "rejected": "num_rejected",
        "preemptions": "num_preemptions",
    },
    "goodput": {"frac": "goodput_frac", "per_s": "goodput_per_s"},
    "throughput": {
        "requests_per_s": "requests_per_s", "output_tokens_per_s": "output_tokens_per_s",
        "prompt_tokens_per_s": "prompt_tokens_per_s",
    },
    "utilisation": {
        "busy_frac": "busy_frac", "kv_used_frac": "kv_used_frac", "prefix_hit_frac": "prefix_hit_frac",
        "arithmetic_used_frac": "arithmetic_used_frac", "bandwidth_used_frac": "bandwidth_used_frac",
        "num_accelerators": "num_accelerators",
    },
    "energy": {"j": "energy_j", "j_per_output_token": "energy_j_per_output_token"},
    "cost": {"usd": "cost_usd", "usd_per_mtok": "cost_usd_per_mtok"},
}  # fmt: skip
"""Where each number of a report stands in the object, and under which name; what a family has not is null."""


def result_of(outcome: Outcome, job: Job, wall_s: float) -> dict[str, Any]:
    """Return a run as plain data.

    Parameters
    ----------
    outcome : Outcome
        What it came to.
    job : Job
        What was played.
    wall_s : float
        How long that took, in seconds.
    """
    report = outcome.report
    told: dict[str, Any] = {"policy": job.policy.id, "params": job.policy.params, "name": job.policy.label}
    told |= {"recipe": job.where, "family": job.family, "seed": job.seed, "load": job.load}
    for group, names in GROUPS.items():
        told[group] = {name: report.numbers.get(metric) for name, metric in names.items()}
    told["counts"] = {name: num if num is None else int(num) for name, num in told["counts"].items()}
    told["counts"] |= {"events": report.num_events, "actions": report.num_actions, "refused": report.num_refused}
    told |= {"refused": report.refused, "percentiles_s": percentiles(outcome), "attainment": attainment(report)}
    told["notes"] = [*getattr(scenario_of(job), "notes", ()), *_never_ended(report)]
    told |= {"decide_s": report.decide_s, "duration_s": report.duration_s, "wall_s": wall_s}
    return told | {"numbers": report.numbers, "versions": versions()}


def _never_ended(report: Report) -> list[str]:
    """Say so where some work neither ended nor failed, for tables of what did end do not show it."""
    num = report.numbers.get("num_unfinished", 0.0)
    return (
        [f"{num:,.0f} never ended: they waited, for an instance or for the policy, until nothing more happened."]
        if num
        else []
    )


def percentiles(outcome: Outcome) -> dict[str, dict[str, float]]:
    """Return mean and percentiles of every time in seconds, exact where the run kept all values."""
    numbers = outcome.report.numbers
    found = {}
    for name in numbers:
        metric = name.removeprefix("mean_")
        if metric != name and metric.endswith("_s"):
            found[metric] = {"mean": numbers[name], **_percentiles_of(outcome, metric)}
    return found


def attainment(report: Report) -> dict[str, dict[str, dict[str, float | bool]]]:
    """Return how each objective of each class fared, by class and metric."""
    found: dict[str, dict[str, dict[str, float | bool]]] = {}
    for row in report.slos:
        one: dict[str, float | bool] = {"met_frac": row.met_frac, "bound": row.bound, "quantile": row.quantile}
        found.setdefault(row.slo_class, {})[row.metric] = one | {"attained": row.attained}
    return found


def versions() -> dict[str, str]:
    """Return the versions that numbers may depend on."""
    return {"headway": __version__, "python": platform.python_version(), "numpy": np.__version__}


def _percentiles_of(outcome: Outcome, metric: str) -> dict[str, float]:
    told = outcome.report.numbers
    if metric in outcome.works:
        return {f"p{percent}": outcome.quantile(metric, percent / 100) for percent in PERCENTS}
    return {f"p{percent}": told.get(f"p{percent}_{metric}", math.nan) for percent in PERCENTS}
