"""Compare policies in the same worlds: means with intervals over seeds, and differences paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headway.app.studies.job import Job, Result, job_of
from headway.app.studies.recipe import Recipe
from headway.app.studies.result import versions
from headway.app.studies.statistics import Interval, interval, paired

HIGHER_IS_BETTER = (
    "goodput_frac",
    "in_time_frac",
    "on_time_frac",
    "of_possible_frac",
    "_per_s",
    "prefix_hit_frac",
    "num_finished",
)
"""Ends of the names of metrics of which more is better."""
LOWER_IS_BETTER = ("_s", "_j", "_usd", "_token", "_per_mtok", "num_rejected", "num_preemptions")
"""Ends of the names of metrics of which less is better; looked at after the others."""

NOISE_FRAC = 1e-9
"""Differences that are smaller than this share of the number itself come from rounding."""


@dataclass(frozen=True)
class Comparison:
    """Results of every policy at every load with every seed.

    Parameters
    ----------
    recipe : Recipe
        What was compared; its first policy is the baseline.
    results : dict of (str, float) to list of Result
        By name of policy and load; in the order of the seeds.
    """

    recipe: Recipe
    results: dict[tuple[str, float], list[Result]]

    @property
    def baseline(self) -> str:
        """The name of the policy that the others are held against."""
        return self.recipe.policy.label

    @property
    def metrics(self) -> list[str]:
        """The numbers that were reported, in the order in which they were."""
        return list(dict.fromkeys(name for some in self.results.values() for r in some for name in r.report.numbers))

    def values(self, policy: str, load: float, metric: str) -> list[float]:
        """Return one number per seed; NaN where there is none."""
        return [result.report.numbers.get(metric, float("nan")) for result in self.results[policy, load]]

    def mean(self, policy: str, load: float, metric: str) -> Interval:
        """Return the mean over the seeds with its interval."""
        return interval(self.values(policy, load, metric))

    def difference(self, policy: str, load: float, metric: str) -> Interval:
        """Return the mean difference from the baseline, paired by seed, with its interval."""
        return paired(self.values(policy, load, metric), self.values(self.baseline, load, metric))

    def verdict(self, policy: str, load: float, metric: str) -> int:
        """Return 1 where a policy is clearly better than the baseline, -1 where worse, 0 where nobody can say."""
        found, size = self.difference(policy, load, metric), abs(self.mean(self.baseline, load, metric).mean)
        if abs(found.mean) <= NOISE_FRAC * size:
            return 0
        return (1 if found.mean > 0 else -1) * direction(metric) if found.excludes_zero else 0


def jobs_of(recipe: Recipe) -> list[Job]:
    """Return the runs of a comparison: loads, then policies, then seeds."""
    return [
        job_of(recipe, policy, seed=seed, load=load)
        for load in recipe.loads
        for policy in recipe.policies
        for seed in recipe.seeds
    ]


def comparison_of(recipe: Recipe, results: Sequence[Result]) -> Comparison:
    """Sort the results of `jobs_of`."""
    found: dict[tuple[str, float], list[Result]] = {}
    for job, result in zip(jobs_of(recipe), results, strict=True):
        found.setdefault((job.policy.label, job.load), []).append(result)
    return Comparison(recipe, found)


def direction(metric: str) -> int:
    """Return 1 for a metric of which more is better, -1 where less is, 0 where it is a matter of taste."""
    if metric.endswith(HIGHER_IS_BETTER):
        return 1
    return -1 if metric.endswith(LOWER_IS_BETTER) else 0


def plain(found: Comparison, wall_s: float) -> dict[str, Any]:
    """Return a comparison as plain data: the shape that `headway compare --json` prints."""
    recipe = found.recipe
    return {
        "recipe": recipe.path,
        "about": recipe.about,
        "family": recipe.family,
        "policies": [{"name": p.label, "id": p.id, "params": p.params} for p in recipe.policies],
        "baseline": found.baseline,
        "loads": recipe.loads,
        "seeds": recipe.seeds,
        "cells": [_cell(found, policy.label, load) for load in recipe.loads for policy in recipe.policies],
        "versions": versions(),
        "wall_s": wall_s,
    }


def _cell(found: Comparison, policy: str, load: float) -> dict[str, Any]:
    cell: dict[str, Any] = {"policy": policy, "load": load, "metrics": {}, "differences": {}}
    for metric in found.metrics:
        mean = found.mean(policy, load, metric)
        values = found.values(policy, load, metric)
        cell["metrics"][metric] = {"mean": mean.mean, "low": mean.low, "high": mean.high, "values": values}
        if policy != found.baseline:
            by = found.difference(policy, load, metric)
            ends = {"mean": by.mean, "low": by.low, "high": by.high, "excludes_zero": by.excludes_zero}
            cell["differences"][metric] = ends | {"verdict": found.verdict(policy, load, metric)}
    return cell
