"""Run a published comparison again: every claim with every seed, over the cores of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from headway.app.reproduce.claim import Claim, Numbers
from headway.app.reproduce.find import chosen, claims_of
from headway.app.reproduce.judge import Verdict, judge, plain
from headway.app.studies.result import versions
from headway.app.studies.sweep import spread_over
from headway.core import catalogue
from headway.core.nouns import Seconds

OnProgress = Callable[[int, int], None]


class Task(Struct, frozen=True, kw_only=True):
    """One claim with one seed, as plain data."""

    id: str
    claim: str
    seed: int
    quick: bool


class Reproduction(Struct, frozen=True, kw_only=True):
    """A published comparison, run again.

    Parameters
    ----------
    id : str
        Of the mechanism.
    claims : tuple of Claim
        The headline first.
    verdicts : list of Verdict
        One for each.
    seeds : tuple of int
        Which seeds were played.
    quick : bool
        Whether accuracy was given up for time.
    wall_s : float
        How long it took, in seconds.
    """

    id: str
    claims: tuple[Claim, ...]
    verdicts: list[Verdict]
    seeds: tuple[int, ...]
    quick: bool
    wall_s: Seconds


def reproduce(
    id: str,
    *,
    claims: Sequence[str] = (),
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    quick: bool = False,
    num_workers: int = 0,
    on_progress: OnProgress | None = None,
) -> Reproduction:
    """Run the comparisons of a mechanism's publication again, and judge them.

    Parameters
    ----------
    id : str
        Of the mechanism.
    claims : sequence of str
        Which of its claims, by id; all by default.
    seeds : sequence of int
        One or more; intervals need two.
    quick : bool
        Whether seconds matter more than accuracy.
    num_workers : int
        How many processes: 1 is this one alone; 0 takes all cores where the work is worth it.
    on_progress : callable or None
        Told how many (claim, seed) pairs are done, and of how many.

    Raises
    ------
    UnknownName, ConfigError
        When there is no such mechanism or claim, or its claims are not written down.
    """
    start_s, todo = time.perf_counter(), chosen(id, tuple(claims))
    tasks = [Task(id=id, claim=claim.id, seed=seed, quick=quick) for claim in todo for seed in seeds]
    found: dict[int, Numbers] = {}
    for place, numbers in spread_over(measure, tasks, num_workers, num=len(tasks)):
        found[place] = numbers
        if on_progress is not None:
            on_progress(len(found), len(tasks))
    num = len(seeds)
    verdicts = [
        judge(claim, [found[place * num + nth] for nth in range(num)]) for place, claim in enumerate(todo)
    ]  # fmt: skip
    wall_s = time.perf_counter() - start_s
    return Reproduction(id=id, claims=todo, verdicts=verdicts, seeds=tuple(seeds), quick=quick, wall_s=wall_s)


def measure(task: Task) -> Numbers:
    """Measure one claim with one seed."""
    (claim,) = (claim for claim in claims_of(task.id) if claim.id == task.claim)
    return claim.measure(task.seed, task.quick)


def told(found: Reproduction) -> dict[str, Any]:
    """Return everything as plain data: the headline on top, all claims below it."""
    row = catalogue.find(found.id)
    claims = [plain(claim, verdict) for claim, verdict in zip(found.claims, found.verdicts, strict=True)]
    return {
        "id": found.id,
        "title": row.title,
        "level": row.level,
        **claims[0],
        "claims": claims,
        "num_claims": len(claims),
        "num_agree_direction": sum(claim["agrees_direction"] for claim in claims),
        "num_with_magnitude": sum(claim["agrees_magnitude"] is not None for claim in claims),
        "num_agree_magnitude": sum(claim["agrees_magnitude"] is True for claim in claims),
        "seeds": found.seeds,
        "quick": found.quick,
        "versions": versions(),
        "wall_s": found.wall_s,
    }
