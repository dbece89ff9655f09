"""A shop in virtual time: jobs arrive, tasks take longer or shorter than expected, machines break down."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, TypeAlias

import numpy as np

from headway.core.actions import Action, Preempt, Reject, Start, Wake
from headway.core.events import Changed, Event, Failed, Woke
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.shop.board import ShopBoard
from headway.policies.shop.nouns import ShopJob, ShopJobArrived, TaskDone, TaskReleased, TaskStopped, finished
from headway.policies.shop.problem import Downtime, Objective
from headway.policies.shop.states import TaskState
from headway.sim.shop.breakdowns import Breakdown, Failures, breakdowns_of
from headway.sim.shop.durations import Truth

AfterBreakdown: TypeAlias = Literal["resume", "restart"]

END: Final = 0
"""Of what happens at one instant, ends come first: a task that ends when its machine breaks down has ended."""
UP: Final = 1
DOWN: Final = 2
RELEASE: Final = 3
WAKE: Final = 4
MAX_IDLE: Final = 1000
"""After so many instants in a row in which nothing runs and nothing comes, nothing will."""


class Run:
    """A task under way, with what only the world knows: how long it still takes."""

    __slots__ = ("left_s", "since_s", "state", "version", "worked_s")

    def __init__(self, state: TaskState, left_s: Seconds, since_s: Seconds) -> None:
        self.state = state
        self.left_s = left_s
        self.since_s = since_s
        self.version = 0  # an end that was planned under an older one does not come
        self.worked_s: Seconds = left_s


class ShopWorld:
    """Runs the jobs of a shop in virtual time.

    All that happens at one instant happens before a policy is asked for the first time, so that it decides with all of
    it in view. What tasks really take and when machines break down does not depend on what policies do.

    Parameters
    ----------
    jobs : iterable of ShopJob
        What arrives, in order of arrival.
    machines : sequence of Resource
        In the order in which tasks count them.
    truth : Truth or None
        What tasks really take, such as ``Noise(0.2)``; None, the default: exactly as expected.
    failures : Failures or None
        How often machines break down; never by default.
    breakdowns : sequence of Breakdown
        When they do, instead.
    after_breakdown : str
        ``"resume"``: a task goes on where it was when its machine is back. ``"restart"``: it is ready again and begins
        anew, wherever a policy wants.
    downtimes : sequence of Downtime
        When machines are away as everybody knows.
    objective : str
        What plans are to make small.
    rng : numpy.random.Generator or None
        Of the truth.

    Raises
    ------
    ConfigError
        When a breakdown cannot be.
    """

    def __init__(
        self,
        jobs: Iterable[ShopJob],
        machines: Sequence[Resource],
        *,
        truth: Truth | None = None,
        failures: Failures | None = None,
        breakdowns: Sequence[Breakdown] = (),
        after_breakdown: AfterBreakdown = "resume",
        downtimes: Sequence[Downtime] = (),
        objective: Objective = "makespan",
        rng: np.random.Generator | None = None,
    ) -> None:
        self.view = ShopBoard(machines, downtimes=downtimes, objective=objective)
        self.busy_s = [0.0] * len(machines)
        self.num_tasks_done = 0
        self._truth = truth
        self._restarts = after_breakdown == "restart"
        self._rng, *streams = (rng or np.random.default_rng(0)).spawn(1 + len(machines))
        self._arrivals = iter(jobs)
        self._next = next(self._arrivals, None)
        self._factors: dict[Id, list[float]] = {}
        self._runs: dict[Id, Run] = {}
        self._due: list[tuple[Seconds, int, int, object, int]] = []
        self._number = 0
        self._told: deque[Event] = deque()
        self._num_idle = 0
        self._num_stale = 0  # planned ends that will not come
        self._num_releases = 0
        self._num_down = [0] * len(machines)
        self._machines = list(machines)
        self._breakdowns = breakdowns_of([machine.id for machine in machines], failures, breakdowns, streams)
        for place in range(len(machines)):
            self._expect_breakdown(place)
        for known in downtimes:
            self._plan(float(known.start), DOWN, known.resource, 0)
            self._plan(float(known.end), UP, known.resource, 0)

    @property
    def running(self) -> Iterator[Id]:
        """The tasks that are under way."""
        return iter(self._runs)

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        told = self._told
        while not told:
            if not self._goes_on():
                return None
            self._live()
        return told.popleft()

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        view = self.view
        if isinstance(action, Start):
            why = view.start(action)
            if why is None:
                self._begin(view.running[action.id])
            return why
        if isinstance(action, Wake):
            self._plan(action.at_s if action.at_s > view.now_s else view.now_s, WAKE, action.tag, 0)
            return None
        why = view.apply(action)
        if why is not None:
            return why
        if isinstance(action, Preempt):
            run = self._runs[action.id]
            self._num_stale += not run.state.num_down  # the end of one that stands still has not been planned
            self._stop(run)
        elif isinstance(action, Reject):
            self._factors.pop(action.id, None)
            self._told.append(Failed(at_s=view.now_s, id=action.id, why=action.why))
        return None

    # What happens -------------------------------------------------------------------------------------------------

    def _goes_on(self) -> bool:
        """Whether a job is still to come, or one is here about which something may still happen."""
        if self._num_stale:
            self._drop_stale()
        if self._next is not None:
            return True
        return bool(self.view.jobs) and bool(self._due) and self._num_idle < MAX_IDLE

    def _drop_stale(self) -> None:
        """Forget planned ends that will not come."""
        due = self._due
        while due:
            _, kind, _, what, version = due[0]
            if kind != END or (isinstance(what, Run) and what.version == version):
                return
            heapq.heappop(due)
            self._num_stale -= 1

    def _live(self) -> None:
        """Let all that happens at the next instant happen."""
        due, coming = self._due, self._next
        at_s = due[0][0] if due else math.inf
        if coming is not None and coming.arrival_s < at_s:
            at_s = coming.arrival_s
        self._num_idle = 0 if self._runs or self._num_releases or coming is not None else self._num_idle + 1
        self.view.go_to(at_s)
        while due and due[0][0] <= at_s:
            _, kind, _, what, version = heapq.heappop(due)
            if isinstance(what, Run):
                if what.version == version:
                    self._end(what)
                else:
                    self._num_stale -= 1
            elif isinstance(what, int):
                self._change(what, kind == UP, version)
            elif kind == WAKE:
                self._told.append(Woke(at_s=at_s, tag=str(what)))
            else:
                self._num_releases -= 1
                self.view.release(str(what))
                self._told.append(TaskReleased(at_s=at_s, task=str(what)))
        while self._next is not None and self._next.arrival_s <= at_s:
            self._arrive(self._next)
            self._next = next(self._arrivals, None)

    def _arrive(self, job: ShopJob) -> None:
        if self._truth is not None:
            self._factors[job.id] = self._truth.factors(job, self._rng)
        for task in self.view.add(job):
            self._num_releases += 1
            self._plan(task.release_s, RELEASE, task.id, 0)
        self._told.append(ShopJobArrived(at_s=self.view.now_s, work=job))

    def _begin(self, state: TaskState) -> None:
        took_s = float(state.task.modes[state.mode].duration)
        if self._truth is not None:
            took_s *= self._factors[state.job.job.id][state.place]
        now_s = self.view.now_s
        run = self._runs[state.id] = Run(state, took_s, now_s)
        self._plan(now_s + took_s, END, run, 0)

    def _end(self, run: Run) -> None:
        view, state, worked_s = self.view, run.state, run.worked_s
        del self._runs[state.id]
        for machine, amount in state.way.uses:
            self.busy_s[machine.place] += worked_s * amount
        self.num_tasks_done += 1
        if view.finish(state):
            # Told before the end of its last task, so that the end of a job is the first that tells of its truth.
            job = state.job.job
            self._factors.pop(job.id, None)
            self._told.append(finished(job, view.now_s))
        done = TaskDone(at_s=view.now_s, task=state.id, machine=state.way.machine, start_s=state.start_s)
        self._told.append(done)

    def _stop(self, run: Run) -> None:
        """Enter that a task was taken off its machines: all that was done of it is lost."""
        now_s, state = self.view.now_s, run.state
        left_s = run.left_s if state.num_down else run.left_s - (now_s - run.since_s)
        run.version += 1
        del self._runs[state.id]
        for machine, amount in state.way.uses:
            self.busy_s[machine.place] += (run.worked_s - left_s) * amount
        self._told.append(TaskStopped(at_s=now_s, task=state.id, machine=state.way.machine, start_s=state.start_s))

    def _change(self, place: int, is_up: bool, source: int) -> None:
        """Let a machine go down or come back; it may be down for two reasons at once."""
        before = self._num_down[place]
        self._num_down[place] += -1 if is_up else 1
        if is_up and source:
            self._expect_breakdown(place)
        if (is_up and before > 1) or (not is_up and before):
            return
        machine = self._machines[place]
        self._told.append(Changed(at_s=self.view.now_s, resource=machine, up=is_up))
        if is_up:
            self._go_on(machine.id)
        else:
            self._halt(machine.id)

    def _halt(self, machine: Id) -> None:
        now_s = self.view.now_s
        for state in self.view.take_down(machine):
            run = self._runs[state.id]
            run.version += 1
            self._num_stale += 1
            run.left_s -= now_s - run.since_s
            if self._restarts:
                self._stop(run)
                self.view.stop(state)

    def _go_on(self, machine: Id) -> None:
        now_s = self.view.now_s
        for state in self.view.bring_up(machine):
            run = self._runs[state.id]
            run.since_s = now_s
            self._plan(now_s + run.left_s, END, run, run.version)

    def _expect_breakdown(self, place: int) -> None:
        span = next(self._breakdowns[place], None)
        if span is not None:
            self._plan(span[0], DOWN, place, 1)
            self._plan(span[1], UP, place, 1)

    def _plan(self, at_s: Seconds, kind: int, what: object, version: int) -> None:
        self._number = number = self._number + 1
        heapq.heappush(self._due, (at_s, kind, number, what, version))
