"""HEFT: plan all tasks that have no element yet, the highest upward rank first, each where it ends soonest."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence

from msgspec import Struct

from headway.core.nouns import Id, Seconds
from headway.policies.shop.soc_board import NOWHERE, JobState, Lane

TIE_S = 1e-9
"""Ranks closer than this are equal; of equal ones the later task comes first."""


class Planned(Struct, frozen=True, order=True):
    """A task in a plan."""

    start_s: Seconds
    end_s: Seconds
    job: Id
    task: int


class _Place(Struct):
    """Where a task is and when its result is there."""

    pe: int
    end_s: Seconds


def heft(jobs: Iterable[JobState], lanes: Sequence[Lane], now_s: Seconds) -> list[list[Planned]]:
    """Plan everything that waits; returns what each element runs, in order.

    Parameters
    ----------
    jobs : iterable of JobState
        Those that are not over.
    lanes : sequence of Lane
        What elements have before them already; that stays.
    now_s : float
        No task starts before.
    """
    jobs = list(jobs)
    places = _known(jobs, lanes, now_s)
    free_s = [lane.free_s(now_s) for lane in lanes]
    plan: list[list[Planned]] = [[] for _ in lanes]
    for state, task in by_rank(jobs):
        pe, planned = min(
            ((pe, _fit(state, task, pe, free_s[pe], plan[pe], places)) for pe in state.shape.able[task]),
            key=lambda one: (one[1].end_s, one[0]),
        )
        insort(plan[pe], planned)
        places[state.job.id, task] = _Place(pe, planned.end_s)
    return plan


def by_rank(jobs: Iterable[JobState]) -> list[tuple[JobState, int]]:
    """Return the tasks that have no element yet, highest upward rank first; a parent always comes before its child."""
    todo = [(state, task) for state in jobs for task, pe in enumerate(state.pe) if pe == NOWHERE]
    return sorted(todo, key=lambda one: (-round(one[0].shape.rank_s[one[1]] / TIE_S), -one[1]))


def _known(jobs: Iterable[JobState], lanes: Sequence[Lane], now_s: Seconds) -> dict[tuple[Id, int], _Place]:
    """Where tasks are that have an element: when they ended, or are expected to."""
    places = {}
    for state in jobs:
        for task, pe in enumerate(state.pe):
            if pe != NOWHERE:
                places[state.job.id, task] = _Place(pe, state.end_s[task])
    for pe, lane in enumerate(lanes):
        end_s = now_s
        for given in [lane.running, *lane.queue] if lane.running else lane.queue:
            starts_s = lane.starts_s if given is lane.running else max(end_s, given.data_s)
            end_s = max(starts_s + given.takes_s, now_s)
            places[given.job, given.task] = _Place(pe, end_s)
    return places


def _fit(
    state: JobState, task: int, pe: int, free_s: Seconds, row: Sequence[Planned], places: dict[tuple[Id, int], _Place]
) -> Planned:
    """Find the first gap of an element that holds a task."""
    job, start_s = state.job.id, free_s
    for parent, transfer_s in state.shape.parents[task]:
        place = places[job, parent]
        start_s = max(start_s, place.end_s if place.pe == pe else place.end_s + transfer_s)
    takes_s = state.shape.times_s[task][pe]
    for other in row:
        if start_s + takes_s <= other.start_s:
            break
        start_s = max(start_s, other.end_s)
    return Planned(start_s, start_s + takes_s, job, task)
