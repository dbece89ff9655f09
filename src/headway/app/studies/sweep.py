"""Play many jobs: here, on all cores, or on a cluster; what was finished before is not played again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from headway.app.studies.beyond import spread_on_ray
from headway.app.studies.cache import Cache
from headway.app.studies.job import Job, Result, finish
from headway.app.studies.pool import num_cores, spread

T = TypeVar("T")
R = TypeVar("R")
OnResult = Callable[[Job, Result], None]
"""Told of every result, as they come."""
Spread = Callable[[Callable[[T], R], Sequence[T]], Iterator[tuple[int, R]]]

WORTH_S = 1.5
"""What starting processes costs, in seconds: work that is over sooner stays in this one."""


def sweep(
    jobs: Sequence[Job],
    *,
    num_workers: int = 0,
    ray_address: str = "",
    cache: Cache | None = None,
    on_result: OnResult | None = None,
) -> list[Result]:
    """Play jobs and return their results in the order of the jobs, whoever played them.

    Parameters
    ----------
    jobs : sequence of Job
        What to play.
    num_workers : int
        How many processes: 1 is this one alone; 0 takes all cores where the work is worth it.
    ray_address : str
        Of a Ray cluster that plays instead; empty for none.
    cache : Cache or None
        Where finished jobs are looked for and kept.
    on_result : callable or None
        Told of every result, as they come.

    Raises
    ------
    HeadwayError
        The first that a job raised; says which job. What was finished is kept.
    """
    found: dict[int, Result] = {}
    for place, job in enumerate(jobs):
        known = cache.get(job) if cache is not None else None
        if known is not None:
            found[place] = known
            _tell(on_result, job, known)
    todo = [place for place in range(len(jobs)) if place not in found]
    for number, result in spread_over(finish, (jobs[place] for place in todo), num_workers, ray_address, num=len(todo)):
        place = todo[number]
        found[place] = result
        if cache is not None:
            cache.put(jobs[place], result)
        _tell(on_result, jobs[place], result)
    return [found[place] for place in range(len(jobs))]


def spread_over(
    do: Callable[[T], R], tasks: Iterable[T], num_workers: int = 0, ray_address: str = "", *, num: int
) -> Iterator[tuple[int, R]]:
    """Do tasks where it is told or where it is quickest; yields places and results as they come.

    There are `num` tasks, or fewer; each is taken from `tasks` when its turn comes.
    """
    if ray_address:
        return spread_on_ray(do, tasks, ray_address)
    if num_workers == 1 or num < 2:
        return ((place, do(task)) for place, task in enumerate(tasks))
    if num_workers > 1:
        return spread(do, tasks, min(num_workers, num))
    return _where_it_is_quickest(do, iter(tasks), num)


def _where_it_is_quickest(do: Callable[[T], R], tasks: Iterator[T], num: int) -> Iterator[tuple[int, R]]:
    """Do tasks here until the time they take tells that processes are worth their start."""
    last_s = 0.0
    for place in range(num):
        num_left = num - place
        num_workers = min(num_cores(), num_left)
        saved_s = last_s * (num_left - num_left / num_workers)
        if num_workers > 1 and saved_s > WORTH_S and (place > 1 or last_s > WORTH_S):  # the first also loads code
            yield from map(partial(_moved, place), spread(do, tasks, num_workers))
            return
        start_s = time.perf_counter()
        for task in itertools.islice(tasks, 1):
            yield place, do(task)
        last_s = time.perf_counter() - start_s


def _moved(by: int, found: tuple[int, R]) -> tuple[int, R]:
    return by + found[0], found[1]


def _tell(on_result: OnResult | None, job: Job, result: Result) -> None:
    if on_result is not None:
        on_result(job, result)
