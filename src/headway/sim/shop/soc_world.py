"""Virtual time of a system on a chip: jobs that keep coming, tasks that take longer or shorter than expected."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import count, cycle
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.core.actions import Action, Wake
from headway.core.events import Arrived, Event, Finished, Woke
from headway.core.nouns import Id, Seconds
from headway.core.session import arrival_stream, truth_stream
from headway.policies.shop.soc_board import Given, SocBoard
from headway.policies.shop.soc_nouns import Application, SocJob, SocTaskDone
from headway.sim.shop.soc_applications import Chip, range_detection, top, top_chip

LEAST = 0.1
"""However lucky, a task takes this share of what is expected."""


class HiddenJob(msgspec.Struct, frozen=True):
    """A job and what only the world knows of it.

    Parameters
    ----------
    job : SocJob
        What policies may know; its time of arrival is set when it is let in.
    gap_s : float
        It comes this long after the one before, >= 0.
    factors : array, [tasks]
        How long each task takes, as a share of what is expected, > 0.
    """

    job: SocJob
    gap_s: Seconds
    factors: NDArray[np.float64]


class SocWorld:
    """Runs a stream of jobs on the processing elements of a chip.

    An element runs one task at a time, in the order in which they were given to it. The data of a task is sent to its
    element as soon as each parent has ended; between two elements that takes its volume over the bandwidth. While
    `max_jobs` jobs are in the chip no other is let in: the stream stands still.

    Parameters
    ----------
    stream : iterable of HiddenJob
        What arrives.
    chip : Chip
        The processing elements.
    max_jobs : int
        How many jobs there are at a time at most, >= 1; 3.

    Attributes
    ----------
    took_s : dict of str to float
        By job that is over, the time from its arrival to its end.
    num_tasks : int
        How many tasks have ended.
    """

    def __init__(self, stream: Sequence[HiddenJob] | Iterator[HiddenJob], chip: Chip, max_jobs: int = 3) -> None:
        self.view = SocBoard(chip.pes(), chip.bandwidth)
        self.max_jobs = max_jobs
        self.took_s: dict[Id, Seconds] = {}
        self.num_tasks = 0
        self._stream = iter(stream)
        self._factors: dict[Id, list[float]] = {}
        self._order = count()
        self._due: list[tuple[Seconds, int, int | Woke]] = []  # an element whose task ends, or a wake-up
        self._next = next(self._stream, None)
        self._next_s = self._next.gap_s if self._next else 0.0

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        view = self.view
        if self._next and len(view.jobs) < self.max_jobs and (not self._due or self._next_s <= self._due[0][0]):
            return self._arrive(self._next)
        if not self._due:
            return None
        view.now_s, _, what = heapq.heappop(self._due)
        return self._end(what) if isinstance(what, int) else what

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Wake):
            at_s = max(action.at_s, self.view.now_s)
            heapq.heappush(self._due, (at_s, next(self._order), Woke(at_s=at_s, tag=action.tag)))
            return None
        why = self.view.apply(action)
        if why is None:
            self._begin()
        return why

    def _arrive(self, hidden: HiddenJob) -> Event:
        self.view.now_s = max(self._next_s, self.view.now_s)
        job = msgspec.structs.replace(hidden.job, arrival_s=self.view.now_s)
        self._factors[job.id] = hidden.factors.tolist()
        self.view.add(job)
        self._next = next(self._stream, None)
        self._next_s = self.view.now_s + (self._next.gap_s if self._next else 0.0)
        return Arrived(at_s=self.view.now_s, work=job)

    def _end(self, place: int) -> Event:
        view = self.view
        given = cast(Given, view.lanes[place].running)
        state = view.end(place)
        self.num_tasks += 1
        self._begin()
        if not state.is_done:
            return SocTaskDone(at_s=view.now_s, job=given.job, task=given.task, pe=view.lanes[place].id)
        self.took_s[given.job] = view.now_s - state.job.arrival_s
        del self._factors[given.job]
        return Finished(at_s=view.now_s, id=given.job)

    def _begin(self) -> None:
        """Let every element that has something to run, and runs nothing, begin."""
        for place, lane in enumerate(self.view.lanes):
            given = lane.begin(self.view.now_s)
            if given is not None:
                ends_s = lane.starts_s + given.takes_s * self._factors[given.job][given.task]
                heapq.heappush(self._due, (ends_s, next(self._order), place))


def stream(
    applications: Sequence[Application], seed: int, *, num_jobs: int, scale_s: Seconds, noise: float = 0.0
) -> Iterator[HiddenJob]:
    """Draw a stream of jobs: exponential gaps, applications at random, normal noise on the time of each task.

    Parameters
    ----------
    applications : sequence of Application
        Each as likely as any other.
    seed : int
        Of everything that is drawn; what comes is the same for every policy.
    num_jobs : int
        How many, >= 0.
    scale_s : float
        Mean gap, in seconds, >= 0.
    noise : float
        Standard deviation of the time of a task, as a share of what is expected, >= 0; 0.
    """
    arrivals, truth = arrival_stream(seed), truth_stream(seed)
    for number in range(num_jobs):
        application = applications[int(arrivals.integers(len(applications)))]
        factors = np.maximum(1.0 + noise * truth.normal(size=len(application.times_s)), LEAST)
        yield _hidden(application, number, float(arrivals.exponential(scale_s)), factors)


def _hidden(application: Application, number: int, gap_s: Seconds, factors: NDArray[np.float64]) -> HiddenJob:
    job = SocJob(
        id=f"job-{number}", kind="soc-job", arrival_s=0.0, size=float(len(application.times_s)), application=application
    )
    return HiddenJob(job, gap_s, factors)


def small_world(seed: int, slower: float = 1.0) -> tuple[SocWorld, None]:
    """Make a world small enough for contract checks: two kinds of jobs, one after the other, on a chip of three.

    Parameters
    ----------
    seed : int
        Of the gaps and the noise.
    slower : float
        What the last task of each job takes, against the same seed by default; nothing visible tells.

    Returns
    -------
    (SocWorld, None)
        The world; it has no accounts of its own.
    """
    rng, chip = np.random.default_rng(seed), top_chip()
    jobs = []
    for number, application in zip(range(8), cycle((top(), range_detection(chip))), strict=False):
        factors = np.maximum(1.0 + 0.2 * rng.normal(size=len(application.times_s)), LEAST)
        factors[-1] *= slower
        jobs.append(_hidden(application, number, float(rng.exponential(30.0)), factors))
    return SocWorld(jobs, chip), None


def lying_world(seed: int) -> SocWorld:
    """Make the small world of a seed whose jobs end later; it looks the same until the first would have ended."""
    return small_world(seed, slower=4.0)[0]
