"""Virtual time of a shop without buffers, whose machines are interrupted, and whose jobs may swap places."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from itertools import count

from headway.core.actions import Action, Wake
from headway.core.events import Arrived, Changed, Event, Failed, Finished, Woke
from headway.core.nouns import Resource, Seconds
from headway.policies.shop.isbjssp_board import NOBODY, SLOT, BlockingBoard
from headway.policies.shop.isbjssp_nouns import MachineOpened, OperationDone, RoutedJob, Segment, Swapped
from headway.policies.shop.schedule import Schedule
from headway.sim.shop.blocking_truth import Interruptions

Route = Sequence[tuple[int, int]]
"""(machine, processing time) of each operation."""


class _Due(IntEnum):
    """What the world has planned."""

    ARRIVE = 0
    END = 1
    UP = 2
    DOWN = 3
    WAKE = 4


class BlockingWorld:
    """Plays jobs on machines that they block.

    A job whose operation is over stays on its machine until it moves to the next; before its first operation it waits
    outside. Where blocked jobs wait for each other in a circle and all its machines are up, all of them move at once.
    A machine that fails while it works resumes after its repair; a job can leave a machine that is down, none can
    enter it. Everything that happens at one time is entered before anybody is told of it.

    Parameters
    ----------
    routes : sequence of sequence of (int, int)
        Machine and processing time of each operation, by job; times >= 0.
    interruptions : Interruptions or None
        What happens to machines; None for nothing.
    blocking : bool
        Without it there are buffers: a job leaves its machine as soon as its operation is over. True.
    swap : bool
        Without it, a circle of blocked jobs is a deadlock, and ends the run: all jobs left are failed. True.
    arrivals_s : sequence of float
        When each job arrives, in seconds >= 0; all at 0 by default.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        interruptions: Interruptions | None = None,
        *,
        blocking: bool = True,
        swap: bool = True,
        arrivals_s: Sequence[Seconds] = (),
    ) -> None:
        at_s = arrivals_s or [0.0] * len(routes)
        self._jobs = tuple(
            RoutedJob(id=f"J{n}", kind="job", arrival_s=at_s[n], place=n, route=tuple(route))
            for n, route in enumerate(routes)
        )
        num_machines = 1 + max((machine for route in routes for machine, _ in route), default=0)
        machines = [Resource(id=f"M{n}", kind="machine", capacity=SLOT) for n in range(num_machines)]
        self.view = BlockingBoard(machines, len(self._jobs))
        self.is_deadlocked = False
        self.num_swaps = self.num_interruptions = 0
        self.waited_s = 0.0  # summed over jobs
        self.starts: list[list[Seconds]] = [[] for _ in routes]  # by job, in order of operations; so are the next two
        self.ends: list[list[Seconds]] = [[] for _ in routes]
        self.leaves: list[list[Seconds]] = [[] for _ in routes]
        self._downs: list[Segment] = []
        self._hidden = interruptions
        self._blocking = blocking
        self._swap = swap
        self._left = len(self._jobs)
        self._moved = False
        self._news: list[int] = []  # jobs that may have closed a circle: they, or their machines, just became ready
        self._told: deque[Event] = deque()
        self._order = count()
        self._due: list[tuple[Seconds, int, _Due, int | str]] = []
        for job in self._jobs:
            self._plan(job.arrival_s, _Due.ARRIVE, job.place)

    @property
    def makespan_s(self) -> Seconds:
        """When the last operation that is over was over; infinite after a deadlock."""
        return float("inf") if self.is_deadlocked else max((ends[-1] for ends in self.ends if ends), default=0.0)

    @property
    def schedule(self) -> Schedule:
        """What was played, as a schedule of the shop's problem, tasks in order of jobs and operations."""
        starts = tuple(int(start) for row in self.starts for start in row)
        return Schedule(starts, (0,) * len(starts))

    @property
    def segments(self) -> list[Segment]:
        """What every machine did, in order of time: processing (interruptions included), blocked, down."""
        found = list(self._downs)
        for job, starts, ends, leaves in zip(self._jobs, self.starts, self.ends, self.leaves, strict=True):
            spans = zip(job.route, starts, ends, leaves, strict=False)
            for (machine, _), start_s, end_s, leave_s in spans:
                found.append(Segment(machine, job.place, "processing", start_s, end_s))
                if leave_s > end_s:
                    found.append(Segment(machine, job.place, "blocked", end_s, leave_s))
        return sorted(found, key=lambda one: (one.machine, one.start_s, one.end_s))

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        while not self._told:
            if self._moved:
                self._moved = False
                opened = next(self.view.open_machines(), None)
                if opened is not None:
                    return MachineOpened(at_s=self.view.now_s, machine=self.view.machines[opened].id)
            if not self._left:
                return self._last_words()
            if self._due:
                self._advance()
            else:
                self._give_up("nobody was started, and nothing else will happen")
        return self._told.popleft()

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Wake):
            self._plan(max(action.at_s, self.view.now_s), _Due.WAKE, action.tag)
            return None
        why = self.view.why_not(action)
        if why is None:
            self._begin(self.view.number_of_job[action.subject])
        return why

    # What is planned comes true -----------------------------------------------------------------------------------

    def _advance(self) -> None:
        now_s = self._due[0][0]
        self.waited_s += self.view.num_waiting * (now_s - self.view.now_s)
        self.view.now_s = now_s
        while self._due and self._due[0][0] == now_s:
            _, _, what, about = heapq.heappop(self._due)
            self._come_true(what, about)
        self._release_circles()

    def _come_true(self, what: _Due, about: int | str) -> None:
        now_s = self.view.now_s
        if isinstance(about, str):
            self._told.append(Woke(at_s=now_s, tag=about))
        elif what is _Due.ARRIVE:
            self.view.add(self._jobs[about])
            self._told.append(Arrived(at_s=now_s, work=self._jobs[about]))
        elif what is _Due.END:
            self._end(about)
        elif what is _Due.DOWN:
            self._shut(about)
        else:
            self.view.restore(about)
            self._news.append(self.view.holds[about])
            self._told.append(Changed(at_s=now_s, resource=self.view.machines[about], up=True))

    def _begin(self, job: int) -> None:
        place, old = self.view.operation[job], self.view.where[job]
        self.view.begin(job)
        machine, duration = self._jobs[job].route[place]
        now_s = self.view.now_s
        if old != NOBODY:
            self.leaves[job].append(now_s)
        self.starts[job].append(now_s)
        self._moved = True
        within = -1 if self._hidden is None else int(self._hidden.within[job, place])
        if within < 0 or self._hidden is None:
            self._plan(now_s + duration, _Due.END, job)
            return
        repair = int(self._hidden.repair[job, place])
        self._plan(now_s + within, _Due.DOWN, machine)
        self._plan(now_s + within + repair, _Due.UP, machine)
        self._plan(now_s + duration + repair, _Due.END, job)
        self._downs.append(Segment(machine, job, "down", now_s + within, now_s + within + repair))

    def _end(self, job: int) -> None:
        now_s, place, machine = self.view.now_s, self.view.operation[job], self.view.where[job]
        goes_on = self.view.end(job, keeps=self._blocking)
        self.ends[job].append(now_s)
        if not (goes_on and self._blocking):
            self.leaves[job].append(now_s)
        if goes_on:
            self._news.append(job)
            self._told.append(OperationDone(at_s=now_s, job=self._jobs[job].id, machine=self.view.machines[machine].id))
        else:
            self._left -= 1
            self._told.append(Finished(at_s=now_s, id=self._jobs[job].id))
        if self._hidden is not None and self._hidden.after[job, place]:
            repair = int(self._hidden.repair[job, place])
            self._downs.append(Segment(machine, NOBODY, "down", now_s, now_s + repair))
            self._plan(now_s + repair, _Due.UP, machine)
            self._shut(machine)

    def _shut(self, machine: int) -> None:
        self.num_interruptions += 1
        self.view.shut(machine)
        self._told.append(Changed(at_s=self.view.now_s, resource=self.view.machines[machine], up=False))

    # Circles ------------------------------------------------------------------------------------------------------

    def _release_circles(self) -> None:
        news, self._news = self._news, []
        for job in news if self._blocking else ():
            circle = self._circle_from(job) if self._is_blocked(job) else []
            if not circle:
                continue
            if len(circle) == 1:  # its next machine is the one that it stands on
                self._begin(job)
                continue
            if not self._swap:
                self.is_deadlocked = True
                self._give_up("a circle of jobs waits for each other")
                return
            self.num_swaps += 1
            for member in circle:
                self._begin(member)
            self._told.append(Swapped(at_s=self.view.now_s, jobs=tuple(self._jobs[one].id for one in circle)))

    def _circle_from(self, first: int) -> list[int]:
        """Return the jobs, this one first, each of which waits for the place of the next, and the last for its."""
        circle = [first]
        while True:
            machine = self.view.wants(circle[-1])
            holder = self.view.holds[machine]
            if holder == NOBODY or self.view.is_down[machine] or not self._is_blocked(holder):
                return []
            if holder == first:
                return circle
            if holder in circle:  # a circle that the first only waits for
                return []
            circle.append(holder)

    def _is_blocked(self, job: int) -> bool:
        return job != NOBODY and self.view.where[job] != NOBODY and not self.view.is_running[job]

    # The end ------------------------------------------------------------------------------------------------------

    def _give_up(self, why: str) -> None:
        for job in self._jobs:
            if self.view.operation[job.place] < len(job.route) and job.place in self.view.jobs:
                if not self.view.is_running[job.place]:
                    self.view.abandon(job.place)
                self._told.append(Failed(at_s=self.view.now_s, id=job.id, why=why))
        self._left = 0
        self._due = [due for due in self._due if due[2] is _Due.WAKE]

    def _last_words(self) -> Event | None:
        """Return wake-ups that somebody asked for after the last job was done; repairs are of no interest by then."""
        while self._due:
            self.view.now_s, _, what, about = heapq.heappop(self._due)
            if what is _Due.WAKE and isinstance(about, str):
                return Woke(at_s=self.view.now_s, tag=about)
            if what is _Due.UP and isinstance(about, int):
                self.view.restore(about)
        return None

    def _plan(self, at_s: Seconds, what: _Due, about: int | str) -> None:
        heapq.heappush(self._due, (at_s, next(self._order), what, about))
