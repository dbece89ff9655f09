"""How far policies are from the best possible: a bound on the share of works that anybody could serve as promised."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from headway.app.studies.capacity import largest_load
from headway.app.studies.job import Job, Result, scenario_of
from headway.app.studies.trial import Verdict
from headway.core import catalogue
from headway.core.errors import ConfigError

SHARE = "goodput_frac"
POSSIBLE = "possible_frac"
OF_POSSIBLE = "of_possible_frac"


class Possible(Protocol):
    """What a family's bound returns."""

    @property
    def good_frac(self) -> float:
        """The largest share of works that any policy can serve as promised."""


def possible(job: Job, uses: frozenset[str] = frozenset()) -> Possible:
    """Bound what any policy could make of a job.

    Parameters
    ----------
    job : Job
        Whose scenario, seed and load it is; who decides does not matter.
    uses : frozenset of str
        What policies do beyond what every executor can.

    Raises
    ------
    ConfigError
        When its family has no bound.
    """
    path = catalogue.families()[job.family].bound
    if not path:
        raise ConfigError(f"{job.where}: family {job.family} must have a bound, got none. Leave --bound out.")
    found: Possible = catalogue.resolve(path)(scenario_of(job), seed=job.seed, load=job.load, uses=uses)
    return found


def with_possible(
    jobs: Sequence[Job], results: Sequence[Result], on_done: Callable[[int, int], None] | None = None
) -> list[Result]:
    """Add to every result what was possible, and which share of that it came to.

    Jobs that differ in their policies alone share a bound, which knows of everything that any of these policies needs.

    Parameters
    ----------
    jobs, results : sequence of Job and of Result
        In the same order.
    on_done : callable or None
        Told how many bounds are known, of how many.
    """
    uses = frozenset(need for job in jobs for need in catalogue.needs(job.policy.id, job.policy.params))
    worlds = list(dict.fromkeys((job.load, job.seed) for job in jobs))
    first = {(job.load, job.seed): job for job in reversed(jobs)}
    bounds: dict[tuple[float, int], float] = {}
    for world in worlds:
        bounds[world] = possible(first[world], uses).good_frac
        if on_done is not None:
            on_done(len(bounds), len(worlds))
    return [_held(result, bounds[job.load, job.seed]) for job, result in zip(jobs, results, strict=True)]


def largest_possible_load(job: Job, seeds: Sequence[int], attain_frac: float, *, max_load: float = 64.0) -> float:
    """Return the largest load at which so large a share could be served as promised; infinite beyond `max_load`.

    The share that is possible never rises with the load: the same requests come closer together, so that every span of
    time in which some work has to be done is shorter, or as long.

    Parameters
    ----------
    job : Job
        Whose scenario it is.
    seeds : sequence of int
        Over which the share is a mean.
    attain_frac : float
        The share, in (0, 1].
    max_load : float
        None beyond this is looked at, > 0.
    """

    def attempt(load: float) -> Verdict:
        shares = [possible(msgspec.structs.replace(job, load=load, seed=seed)).good_frac for seed in seeds]
        mean = sum(shares) / len(shares)
        return Verdict(
            passed=mean >= attain_frac, good_frac=mean, whole=True, num_runs=len(seeds), rate_per_s=math.nan,
            numbers={}, wall_s=0.0,
        )  # fmt: skip

    found = largest_load(attempt, max_load=max_load, tolerance_frac=0.01)
    return math.inf if found.fails_at is None else found.fails_at


def _held(result: Result, bound: float) -> Result:
    share = result.report.numbers.get(SHARE, math.nan)
    more = {POSSIBLE: bound, OF_POSSIBLE: share / bound if bound > 0 else math.nan}
    report = msgspec.structs.replace(result.report, numbers={**result.report.numbers, **more})
    return msgspec.structs.replace(result, report=report)
