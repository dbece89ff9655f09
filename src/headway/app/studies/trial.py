"""Try one setting: which share of all requests meets all of its objectives, over all seeds?"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import Struct

from headway.app.studies.job import Job, play
from headway.app.studies.statistics import interval
from headway.app.studies.watch import StopRun, Watch, bounds_in
from headway.core.errors import ConfigError, HeadwayError
from headway.core.nouns import Seconds
from headway.core.scenario import Outcome

SURE = 0.99
"""How sure some seeds must make of a verdict for the others to be spared."""
FEWEST_SEEDS = 3
"""From how many seeds on an interval counts as evidence."""


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of a setting.

    Parameters
    ----------
    passed : bool
        Whether enough requests met all of their objectives.
    good_frac : float
        The share that did; of a run that was stopped, the most that it could still have come to.
    whole : bool
        Whether all seeds were played to their end.
    num_runs : int
        How many were begun.
    rate_per_s : float
        Mean arrivals per second; NaN when no run came to its end.
    numbers : dict of str to float
        Means of the reported numbers over the seeds that came to their end.
    wall_s : float
        How long it took, in seconds.
    """

    passed: bool
    good_frac: float
    whole: bool
    num_runs: int
    rate_per_s: float
    numbers: dict[str, float]
    wall_s: Seconds


class _Tally:
    """What the seeds came to so far."""

    def __init__(self, attain_frac: float, num_seeds: int) -> None:
        self.attain_frac = attain_frac
        self.num_seeds = num_seeds
        self.num_missed = 0
        self.num_all = 0
        self.shares: list[float] = []
        self.numbers: list[dict[str, float]] = []
        self.rates: list[float] = []

    def may_miss(self, num_all: int) -> float:
        """Return how many more may miss, were all seeds of this size."""
        return (1 - self.attain_frac) * num_all * self.num_seeds + 1e-9 - self.num_missed

    def add(self, outcome: Outcome) -> None:
        """Count a run that came to its end."""
        numbers = outcome.report.numbers
        num_all = round(numbers.get("num_requests", numbers.get("num_jobs", 0)))
        share = numbers["goodput_frac"]
        self.num_all += num_all
        self.num_missed += num_all - round(share * num_all)
        self.shares.append(share)
        self.numbers.append(numbers)
        self.rates.append(_rate(outcome))

    @property
    def good_frac(self) -> float:
        return 1 - self.num_missed / self.num_all if self.num_all else math.nan

    @property
    def settled(self) -> bool:
        """Whether more seeds would not change the verdict: surely not, or very likely not."""
        if self.num_all and self.may_miss(round(self.num_all / len(self.shares))) < 0:
            return True
        if len(self.shares) < FEWEST_SEEDS:
            return False
        found = interval(self.shares, SURE)
        return found.low > self.attain_frac or found.high < self.attain_frac


def try_out(job: Job, seeds: Sequence[int], attain_frac: float) -> Verdict:
    """Play a job with several seeds until the verdict is clear.

    A run is stopped as soon as so many requests have missed that no outcome of the rest could make up for it. Seeds
    that cannot change the verdict, or from the third on very likely do not, are not played.

    Parameters
    ----------
    job : Job
        What is played; its own seed does not count.
    seeds : sequence of int
        One or more.
    attain_frac : float
        The share of requests that must meet all of their objectives, in (0, 1].

    Raises
    ------
    ConfigError
        When nothing is promised to anybody.
    """
    tally, start_s = _Tally(attain_frac, len(seeds)), time.perf_counter()
    stopped = None
    for seed in seeds:
        stopped = _play(msgspec.structs.replace(job, seed=seed), tally)
        if stopped is not None or tally.settled:
            break
    good_frac = tally.good_frac if stopped is None else stopped
    num_runs = len(tally.shares) + (stopped is not None)
    return Verdict(
        passed=stopped is None and good_frac >= attain_frac - 1e-12,
        good_frac=good_frac,
        whole=stopped is None and num_runs == len(seeds),
        num_runs=num_runs,
        rate_per_s=float(np.mean(tally.rates)) if tally.rates else math.nan,
        numbers=_means(tally.numbers),
        wall_s=time.perf_counter() - start_s,
    )


def _play(job: Job, tally: _Tally) -> float | None:
    """Play one seed; returns nothing, or the most it could have come to when it was stopped."""
    slos = job.setting.get("slo", ())
    watch = Watch(bounds_in([slos] if isinstance(slos, dict) else slos), tally.may_miss)
    try:
        outcome = play(job, instruments=[watch], on_progress=watch)
    except StopRun:
        num_all = watch.num_all * tally.num_seeds
        return 1 - (tally.num_missed + watch.num_missed) / num_all
    except HeadwayError as error:
        raise type(error)(f"{job.label}: {error}") from error
    if not outcome.report.slos:
        raise ConfigError(
            f"{job.where}: an objective must be set to plan for, got none. Add [[slo]] with ttft_s = 1.0."
        )
    tally.add(outcome)
    return None


def _rate(outcome: Outcome) -> float:
    arrivals = outcome.works.get("arrival_s", np.empty(0))
    span_s = float(np.ptp(arrivals)) if len(arrivals) else 0.0
    return (len(arrivals) - 1) / span_s if span_s > 0 else math.nan


def _means(numbers: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in numbers for name in one)
    return {name: interval([one.get(name, math.nan) for one in numbers]).mean for name in names}
