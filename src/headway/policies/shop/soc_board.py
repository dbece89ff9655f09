"""The visible state of a system on a chip: tasks that are ready, and what each processing element has before it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

from msgspec import Struct

from headway.core.actions import Action, Start
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.shop.soc_nouns import SLOT, SocJob, task_id, task_of
from headway.policies.shop.soc_shape import Shape, shape_of

NOWHERE = -1
"""The element of a task that has none yet."""


class JobState:
    """What a job has come to.

    Attributes
    ----------
    pe : list of int
        By task, the element that it was given to, or `NOWHERE`.
    end_s : list of float
        By task, when it ended; NaN before.
    ready : dict of int to None
        Tasks whose parents are done and that have no element yet, in the order in which they became ready.
    """

    __slots__ = ("job", "shape", "pe", "end_s", "ready", "num_done", "_open", "_ways")

    def __init__(self, job: SocJob, shape: Shape) -> None:
        self.job = job
        self.shape = shape
        self.pe = [NOWHERE] * shape.num_tasks
        self.end_s = [math.nan] * shape.num_tasks
        self._open = [len(parents) for parents in shape.parents]
        self.ready = dict.fromkeys(task for task, num in enumerate(self._open) if not num)
        self.num_done = 0
        self._ways: dict[int, list[tuple[int, Seconds, Seconds]]] = {}

    @property
    def is_done(self) -> bool:
        """Whether all tasks are over."""
        return self.num_done == self.shape.num_tasks

    def end(self, task: int, at_s: Seconds) -> None:
        """Enter that a task is over."""
        self.end_s[task] = at_s
        self.num_done += 1
        for child, _ in self.shape.children[task]:
            self._open[child] -= 1
            if not self._open[child]:
                self.ready[child] = None

    def ways(self, task: int) -> list[tuple[int, Seconds, Seconds]]:
        """Where a ready task can run: element, when its data is there, the time that it takes."""
        found = self._ways.get(task)
        if found is None:
            times_s = self.shape.times_s[task]
            found = self._ways[task] = [(pe, self.data_s(task, pe), times_s[pe]) for pe in self.shape.able[task]]
        return found

    def data_s(self, task: int, pe: int) -> Seconds:
        """When the data of a ready task is on an element: what its parents sent as soon as they ended."""
        latest = self.job.arrival_s
        for parent, transfer_s in self.shape.parents[task]:
            there_s = self.end_s[parent] if self.pe[parent] == pe else self.end_s[parent] + transfer_s
            if there_s > latest:
                latest = there_s
        return latest


class Given(Struct, frozen=True, gc=False):
    """A task that an element has or will run; `data_s` is when its data is there, `takes_s` what is expected."""

    job: Id
    task: int
    data_s: Seconds
    takes_s: Seconds


class Lane:
    """One processing element: the task that it runs or waits for, and those behind it, first come first served."""

    __slots__ = ("id", "running", "starts_s", "queue")

    def __init__(self, id: Id) -> None:
        self.id = id
        self.running: Given | None = None
        self.starts_s = 0.0
        self.queue: deque[Given] = deque()

    def begin(self, now_s: Seconds) -> Given | None:
        """Let the first in the queue run if nothing does; returns it."""
        if self.running is not None or not self.queue:
            return None
        self.running = self.queue.popleft()
        self.starts_s = max(now_s, self.running.data_s)
        return self.running

    def free_s(self, now_s: Seconds) -> Seconds:
        """When it is expected to have run all that it has."""
        free = now_s if self.running is None else max(now_s, self.starts_s + self.running.takes_s)
        for given in self.queue:
            free = max(free, given.data_s) + given.takes_s
        return free


class SocView(Protocol):
    """What a policy may see of a system on a chip."""

    @property
    def now_s(self) -> Seconds:
        """The present, in seconds since the start of the run."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The processing elements, by id, in the order of the columns of applications."""

    @property
    def jobs(self) -> Mapping[Id, JobState]:
        """Jobs that are not over, in order of arrival."""

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """What each processing element has before it."""

    def draft(self, hold: bool = False) -> SocDraft:
        """Open a tentative overlay for one decision; see `SocDraft` for what it means to hold."""


class SocDraft:
    """A tentative overlay on a board, so that several tasks given in one decision account for each other.

    Parameters
    ----------
    now_s : float
        The present.
    jobs : mapping of str to JobState
        Those that are not over.
    lanes : tuple of Lane
        What elements have before them.
    hold : bool
        Whether a task is only really given to an element that has nothing else. What is held is accounted for in the
        draft, and can be decided otherwise at the next event.

    Attributes
    ----------
    free_s : list of float
        By element, when it is expected to be free after all that was given.
    ready : list of (JobState, int)
        Tasks that wait for an element.
    actions : list of Action
        What was drafted.
    """

    __slots__ = ("free_s", "ready", "actions", "_hold", "_lanes", "_open", "_soonest")

    def __init__(
        self, now_s: Seconds, jobs: Mapping[Id, JobState], lanes: tuple[Lane, ...], hold: bool = False
    ) -> None:
        self._lanes = lanes
        self._open = [not hold or (lane.running is None and not lane.queue) for lane in lanes]
        self._hold = hold
        self._soonest: dict[tuple[Id, int], tuple[Seconds, int]] = {}
        self.free_s = [lane.free_s(now_s) for lane in lanes]
        self.ready = [(state, task) for state in jobs.values() for task in state.ready]
        self.actions: list[Action] = []

    @property
    def can_give(self) -> bool:
        """Whether there is a task that waits, and an element that could really be given one."""
        return bool(self.ready) and any(self._open)

    def is_open(self, pe: int) -> bool:
        """Whether an element would really be given a task."""
        return self._open[pe]

    def finish_s(self, state: JobState, task: int, pe: int) -> Seconds:
        """When a ready task is expected to be over on an element."""
        return max(self.free_s[pe], state.data_s(task, pe)) + state.shape.times_s[task][pe]

    def soonest(self, state: JobState, task: int) -> tuple[Seconds, int]:
        """When a ready task can be over at the earliest, and on which element."""
        found = self._soonest.get((state.job.id, task))
        if found is None:
            free_s = self.free_s
            found = min([(max(free_s[pe], data_s) + takes_s, pe) for pe, data_s, takes_s in state.ways(task)])
            self._soonest[state.job.id, task] = found
        return found

    def give(self, state: JobState, task: int, pe: int) -> None:
        """Draft that an element runs a ready task after all that it has before it."""
        self.free_s[pe] = self.finish_s(state, task, pe)
        # Elements are only ever free later, so that who does not lose its best one keeps it.
        self._soonest = {key: found for key, found in self._soonest.items() if found[1] != pe}
        self.ready.remove((state, task))
        if self._open[pe]:
            self._open[pe] = not self._hold
            self.actions.append(Start(task_id(state.job.id, task), {self._lanes[pe].id: {SLOT: 1.0}}))


class SocBoard:
    """Keeps the books of jobs, tasks and processing elements.

    Parameters
    ----------
    pes : list of Resource
        The processing elements, in the order of the columns of applications.
    bandwidth : float
        Volume that goes from one element to another per second, > 0; 1.
    """

    def __init__(self, pes: list[Resource], bandwidth: float = 1.0) -> None:
        self.now_s: Seconds = 0.0
        self.bandwidth = bandwidth
        self.resources: Mapping[Id, Resource] = MappingProxyType({pe.id: pe for pe in pes})
        self.lanes = tuple(Lane(pe.id) for pe in pes)
        self._places = {pe.id: place for place, pe in enumerate(pes)}
        self._jobs: dict[Id, JobState] = {}
        self.jobs: Mapping[Id, JobState] = MappingProxyType(self._jobs)

    def draft(self, hold: bool = False) -> SocDraft:
        """Open a tentative overlay for one decision; see `SocDraft` for what it means to hold."""
        return SocDraft(self.now_s, self._jobs, self.lanes, hold)

    def add(self, job: SocJob) -> None:
        """Let a job's first tasks be ready."""
        self._jobs[job.id] = JobState(job, shape_of(job.application, self.bandwidth))

    def apply(self, action: Action) -> str | None:
        """Carry out an action on the visible state; returns why not, having changed nothing, when it cannot be."""
        if not isinstance(action, Start):
            return f"a system on a chip does not know {type(action).__name__}"
        job, task = task_of(action.id)
        state = self._jobs.get(job)
        if state is None or task not in state.ready:
            return "it is not ready"
        place = self._place(action)
        if isinstance(place, str):
            return place
        if place not in state.shape.able[task]:
            return f"it cannot run on {self.lanes[place].id}"
        del state.ready[task]
        state.pe[task] = place
        self.lanes[place].queue.append(Given(job, task, state.data_s(task, place), state.shape.times_s[task][place]))
        return None

    def end(self, place: int) -> JobState:
        """Enter that the task which an element runs is over; a job that is over is forgotten."""
        lane = self.lanes[place]
        given, lane.running = lane.running, None
        assert given is not None, "only what runs can end"
        state = self._jobs[given.job]
        state.end(given.task, self.now_s)
        if state.is_done:
            del self._jobs[given.job]
        return state

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes."""
        jobs = tuple((id, tuple(state.pe), tuple(state.ready), state.num_done) for id, state in self._jobs.items())
        return hash((self.now_s, jobs, tuple(self._lane_prints())))

    def _lane_prints(self) -> Iterator[tuple[Given | None, Seconds, tuple[Given, ...]]]:
        for lane in self.lanes:
            yield lane.running, lane.starts_s, tuple(lane.queue)

    def _place(self, action: Start) -> int | str:
        if len(action.on) != 1:
            return f"a task runs on one element, {len(action.on)} asked for"
        ((pe, amounts),) = action.on.items()
        if pe not in self._places:
            return f"there is no element {pe!r}"
        return self._places[pe] if amounts == {SLOT: 1.0} else f"a task takes one {SLOT}, {dict(amounts)} asked for"
