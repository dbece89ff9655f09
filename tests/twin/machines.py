"""Machines with slots: the smallest family, on the core's own board, in virtual and in real time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial

import numpy as np
from msgspec import Struct

from headway.core.actions import Action, Start, Wake
from headway.core.clock import Clock
from headway.core.events import Arrived, Event, Failed, Finished, Started, Woke
from headway.core.nouns import Resource, Work
from headway.core.view import Board
from twin.inbox import END, NEWS, WAKE, Inbox


class Job(Struct, frozen=True):
    """A work and what nobody may know of it."""

    work: Work
    takes_s: float
    fails: bool = False


class ShortestFirst:
    """Starts waiting work in the order of its estimated size, wherever it fits, once all of an instant has arrived."""

    def reset(self, rng: np.random.Generator) -> None:
        self.num_starts = 0

    def decide(self, event: Event, view: Board) -> Iterator[Action]:
        if isinstance(event, Arrived):
            yield Wake(view.now_s, "all here")
            return
        draft = view.draft()
        for work in sorted(view.waiting.values(), key=lambda work: (work.size, work.id)):
            for resource in view.resources:
                if draft.start(work.id, resource):
                    break
        self.num_starts += len(draft.actions)
        yield from draft.actions


def machines(num: int, slots: float) -> list[Resource]:
    return [Resource(id=f"m{n}", kind="machine", capacity={"slot": slots}) for n in range(num)]


def draw(seed: int, num: int) -> list[Job]:
    """Jobs that arrive in bursts and are not what they look like."""
    rng = np.random.default_rng(seed)
    jobs = []
    for n in range(num):
        work = Work(
            id=f"j{n:02}",
            kind="job",
            arrival_s=float(rng.integers(0, 8)),
            needs={"slot": float(rng.integers(1, 3))},
            size=float(rng.integers(1, 9)),
        )
        jobs.append(Job(work, takes_s=float(rng.exponential(2.0)), fails=bool(rng.random() < 0.2)))
    return jobs


class _Executor:
    """What both have in common is the board, and the truth."""

    def __init__(self, jobs: Sequence[Job], resources: list[Resource]) -> None:
        self.view = Board(resources)
        self.jobs = {job.work.id: job for job in sorted(jobs, key=lambda job: job.work.arrival_s)}
        self.num_open = len(jobs)

    def arrive(self, job: Job, now_s: float) -> Iterator[Event]:
        self.view.now_s = now_s
        self.view.add(job.work)
        yield Arrived(at_s=now_s, work=job.work)

    def begin(self, id: str, now_s: float) -> Iterator[Event]:
        yield Started(at_s=now_s, id=id)

    def end(self, id: str, now_s: float) -> Iterator[Event]:
        self.view.now_s = now_s
        self.view.finish(id)
        self.num_open -= 1
        yield Failed(at_s=now_s, id=id, why="broke") if self.jobs[id].fails else Finished(at_s=now_s, id=id)


class MachineWorld(_Executor):
    """In virtual time."""

    def __init__(self, jobs: Sequence[Job], resources: list[Resource]) -> None:
        super().__init__(jobs, resources)
        self._order = itertools.count()
        self._heap: list[tuple[float, int, int, Callable[[float], Iterator[Event]]]] = []
        self._events = self._play()
        for job in self.jobs.values():
            self._at(job.work.arrival_s, NEWS, partial(self.arrive, job))

    def next(self) -> Event | None:
        return next(self._events, None)

    def apply(self, action: Action) -> str | None:
        now_s = self.view.now_s
        if isinstance(action, Wake):
            self._at(action.at_s, WAKE, partial(self._wake, action.tag))
            return None
        why = self.view.apply(action)
        if why is None and isinstance(action, Start):
            self._at(now_s, NEWS, partial(self.begin, action.id))
            self._at(now_s + self.jobs[action.id].takes_s, END, partial(self.end, action.id))
        return why

    def _at(self, at_s: float, rank: int, happen: Callable[[float], Iterator[Event]]) -> None:
        if rank != WAKE or not any(item[:2] == (at_s, rank) for item in self._heap):
            heapq.heappush(self._heap, (at_s, rank, next(self._order), happen))

    def _wake(self, tag: str, now_s: float) -> Iterator[Event]:
        self.view.now_s = now_s
        yield Woke(at_s=now_s, tag=tag)

    def _play(self) -> Iterator[Event]:
        while self._heap and self.num_open:
            at_s, _, _, happen = heapq.heappop(self._heap)
            yield from happen(at_s)


class MachineEngine(_Executor):
    """In real time."""

    def __init__(self, jobs: Sequence[Job], resources: list[Resource], clock: Clock) -> None:
        super().__init__(jobs, resources)
        self._clock = clock

    async def events(self) -> AsyncIterator[Event]:
        self._inbox = Inbox(self._clock)
        for job in self.jobs.values():
            self._inbox.later(job.work.arrival_s, NEWS, lambda job=job: self.arrive(job, self._clock.now_s()))  # type: ignore[misc]
        async for event in self._inbox.told(lambda: not self.num_open):
            yield event

    async def apply(self, action: Action) -> str | None:
        if isinstance(action, Wake):
            self._inbox.wake(action)
            return None
        why = self.view.apply(action)
        if why is None and isinstance(action, Start):
            now_s = self._clock.now_s()
            self._inbox.put(NEWS, lambda: self.begin(action.id, now_s))
            self._inbox.later(
                now_s + self.jobs[action.id].takes_s, END, lambda: self.end(action.id, self._clock.now_s())
            )
        return why
