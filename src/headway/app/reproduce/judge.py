"""Hold measured numbers against a claim: means with intervals over seeds, and whether direction and size agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from headway.app.reproduce.claim import Below, Claim, Numbers, Size
from headway.app.studies.statistics import Interval, interval


class Direction(Struct, frozen=True, kw_only=True):
    """What became of one ordering.

    Parameters
    ----------
    name : str
        The ordering in words.
    holds : bool
        Whether it holds in the mean over seeds.
    sure : bool
        Whether the 95% interval of the difference, paired by seed, excludes zero as well.
    num_held, num : int
        In how many seeds it holds, of how many.
    """

    name: str
    holds: bool
    sure: bool
    num_held: int
    num: int


class Magnitude(Struct, frozen=True, kw_only=True):
    """What became of one size.

    Parameters
    ----------
    name : str
        The quantity in words.
    claimed, mean, low, high : float
        What was claimed; our mean over seeds and the ends of its 95% interval.
    least, most : float
        Between these ends our mean agrees.
    agrees : bool
        Whether it is.
    """

    name: str
    claimed: float
    mean: float
    low: float
    high: float
    least: float
    most: float
    agrees: bool


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of a claim.

    Parameters
    ----------
    measured : dict of str to dict of str to Interval
        By contestant and metric.
    directions, sizes : list
        One for each of the claim's.
    """

    measured: dict[str, dict[str, Interval]]
    directions: list[Direction]
    sizes: list[Magnitude]

    @property
    def agrees_direction(self) -> bool:
        """Whether everything that should be smaller is."""
        return all(one.holds for one in self.directions)

    @property
    def agrees_magnitude(self) -> bool | None:
        """Whether every size agrees; None when no number was claimed."""
        return all(one.agrees for one in self.sizes) if self.sizes else None


def judge(claim: Claim, seeds: Sequence[Numbers]) -> Verdict:
    """Judge a claim by what each seed came to."""
    return Verdict(
        measured={name: _means(name, seeds) for name in claim.contestants},
        directions=[_direction(below, seeds) for below in claim.directions],
        sizes=[_magnitude(size, seeds) for size in claim.sizes],
    )


def plain(claim: Claim, verdict: Verdict) -> dict[str, Any]:
    """Return claim and verdict as plain data."""
    told = {name: _plain_numbers(claim, name, verdict) for name in claim.contestants}
    return {
        "claim_id": claim.id,
        "claim": claim.text,
        "source": claim.source,
        "hardware_claimed": claim.hardware,
        "run_here": claim.here,
        "ours": claim.ours,
        "measured": told.pop(claim.ours),
        "baselines": {name: {"about": claim.contestants[name], "measured": told[name]} for name in told},
        "directions": verdict.directions,
        "sizes": verdict.sizes,
        "agrees_direction": verdict.agrees_direction,
        "agrees_magnitude": verdict.agrees_magnitude,
        "notes": list(claim.notes),
    }


def _means(name: str, seeds: Sequence[Numbers]) -> dict[str, Interval]:
    metrics = dict.fromkeys(metric for numbers in seeds for metric in numbers.get(name, {}))
    return {metric: interval([numbers[name].get(metric, math.nan) for numbers in seeds]) for metric in metrics}


def _direction(below: Below, seeds: Sequence[Numbers]) -> Direction:
    by = [below.more.of(numbers) - below.less.of(numbers) for numbers in seeds]
    found = interval(by)
    return Direction(
        name=below.name,
        holds=found.mean > 0,
        sure=found.mean > 0 and found.excludes_zero,
        num_held=sum(one > 0 for one in by),
        num=len(by),
    )


def _magnitude(size: Size, seeds: Sequence[Numbers]) -> Magnitude:
    found = interval([size.quantity.of(numbers) for numbers in seeds])
    return Magnitude(
        name=size.quantity.name,
        claimed=size.claimed,
        mean=found.mean,
        low=found.low,
        high=found.high,
        least=size.least,
        most=size.most,
        agrees=size.least <= found.mean <= size.most,
    )


def _plain_numbers(claim: Claim, name: str, verdict: Verdict) -> dict[str, dict[str, float | None]]:
    return {
        metric: {"mean": one.mean, "low": one.low, "high": one.high, "claimed": claim.claimed.get((name, metric))}
        for metric, one in verdict.measured[name].items()
    }
