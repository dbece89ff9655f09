"""Virtual time of link building: antennas that fail now and then, tasks that come late, windows that close."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from headway.core.actions import Action, Reject, Wake
from headway.core.alarms import Alarms
from headway.core.events import Arrived, Changed, Event, Failed, Finished, Woke
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.shop.ffeea_board import LinkBoard
from headway.policies.shop.ffeea_nouns import Link, LinkProblem, LinkTask
from headway.sim.shop.ffeea_scenarios import scenario


class Outage(Struct, frozen=True):
    """An antenna is down from one time to another; nobody knows in advance."""

    antenna: Id
    start_s: Seconds
    end_s: Seconds


class Lapse(Struct, frozen=True):
    """The last window of a task closes."""

    task: Id


What = Event | Outage | Lapse


class LinkWorld:
    """Builds links in virtual time.

    A link that its antenna fails counts as long as it stood, if that is long enough. A task whose last window has
    closed on it fails.

    Parameters
    ----------
    problem : LinkProblem
        Tasks with their arrivals, antennas, modes, maintenance.
    outages : sequence of Outage
        What only the world knows.
    """

    def __init__(self, problem: LinkProblem, outages: Sequence[Outage] = ()) -> None:
        antennas = [Resource(id=name, kind="antenna", capacity={"link": 1.0}) for name in problem.antennas]
        self.view = LinkBoard(antennas, problem.switch_s, problem.taken)
        self.link_s = 0.0
        self.num_linked = 0
        self._alarms = Alarms()
        self._order = count()
        self._tasks = {task.id: task for task in problem.tasks}
        self._due: list[tuple[Seconds, int, What]] = []
        for task in problem.tasks:
            self._plan(task.arrival_s, Arrived(at_s=task.arrival_s, work=task))
            last_s = max(task.arrival_s, _last_start_s(task) + 1.0)
            self._plan(last_s, Lapse(task.id))
        for outage in outages:
            self._plan(outage.start_s, outage)

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        while True:
            wake_s = self._alarms.next_s
            if wake_s is not None and (not self._due or wake_s < self._due[0][0]):
                for tag in self._alarms.due(max(wake_s, self.view.now_s)):
                    at_s = max(wake_s, self.view.now_s)
                    self._plan(at_s, Woke(at_s=at_s, tag=tag))
            if not self._due:
                return None
            self.view.now_s, _, what = heapq.heappop(self._due)
            event = self._happen(what)
            if event is not None:
                return event

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Wake):
            self._alarms.set(action)
            return None
        why = self.view.apply(action)
        if why is None and isinstance(action, Link):
            end_s = float(action.end_s + self._tasks[action.task].teardown_s)
            self._plan(end_s, Finished(at_s=end_s, id=action.task))
        if why is None and isinstance(action, Reject):
            del self._tasks[action.id]
        return why

    def _happen(self, what: What) -> Event | None:
        """Let something happen; returns what a policy is told of it."""
        if isinstance(what, Outage):
            return self._fail(what)
        if isinstance(what, Lapse):
            return self._lapse(what.task)
        if isinstance(what, Arrived) and isinstance(what.work, LinkTask):
            self.view.add(what.work)
        elif isinstance(what, Finished):
            if what.id not in self._tasks:
                return None  # its antenna has failed meanwhile
            self._end(what.id)
        elif isinstance(what, Changed):
            self.view.set_up(what.resource.id, True)
        return what

    def _lapse(self, task: Id) -> Failed | None:
        if task not in self.view.waiting:
            return None
        self._end(task)
        return Failed(at_s=self.view.now_s, id=task, why="its last window has closed")

    def _fail(self, outage: Outage) -> Changed:
        """Take an antenna down; links that it serves end now, and so do their tasks."""
        now_s, antenna = self.view.now_s, self.view.set_up(outage.antenna, False)
        for link in [one for one in self.view.links.values() if outage.antenna in one.antennas]:
            self._end(link.task)
            self._plan(now_s, Failed(at_s=now_s, id=link.task, why=f"{outage.antenna} went down"))
        self._plan(outage.end_s, Changed(at_s=outage.end_s, resource=antenna, up=True))
        return Changed(at_s=now_s, resource=antenna, up=False)

    def _end(self, id: Id) -> None:
        """End a task and count its link for as long as it stood."""
        task, link = self._tasks.pop(id), self.view.end(id)
        lasted_s = min(float(link.end_s), self.view.now_s) - link.start_s if link is not None else 0.0
        if lasted_s >= task.min_s:
            self.link_s += lasted_s
            self.num_linked += 1

    def _plan(self, at_s: Seconds, what: What) -> None:
        heapq.heappush(self._due, (at_s, next(self._order), what))


def small_world(seed: int, other: int = 0) -> tuple[LinkWorld, None]:
    """Make a world small enough for contract checks: a dozen tasks, some of which come late, and an outage.

    Parameters
    ----------
    seed : int
        Of the tasks.
    other : int
        Of what is hidden: when an antenna fails, which is not before the first link has ended.

    Returns
    -------
    (LinkWorld, None)
        The world; it has no accounts of its own.
    """
    made = scenario(seed, num_satellites=5, num_stations=3, num_windows=14, horizon_s=6000)
    late = [n % 4 == 3 for n in range(len(made.tasks))]
    first_s = min(task.windows[0].start_s for task in made.tasks)
    tasks = tuple(
        _arriving(task, first_s // 2 if is_late else 0) for task, is_late in zip(made.tasks, late, strict=True)
    )
    down_s = 3000.0 + float(np.random.default_rng([seed, other]).integers(1500))
    problem = LinkProblem(tasks=tasks, antennas=made.antennas, switch_s=made.switch_s)
    return LinkWorld(problem, [Outage(made.antennas[0], down_s, down_s + 700.0)]), None


def lying_world(seed: int) -> LinkWorld:
    """Make the small world of a seed in which the antenna fails at another time."""
    return small_world(seed, other=1)[0]


def _arriving(task: LinkTask, arrival_s: int) -> LinkTask:
    return replace(task, arrival_s=float(arrival_s))


def _last_start_s(task: LinkTask) -> float:
    return float(max(window.end_s for window in task.windows) - task.min_s - task.setup_s)
