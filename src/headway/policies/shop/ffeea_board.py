"""The visible state of link building, written by a world and by an engine alike."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from msgspec.structs import replace

from headway.core.actions import Action, Reject
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.shop.ffeea_nouns import Fed, Link, LinkProblem, LinkTask, Taken


class LinkView(Protocol):
    """What a policy may see of link building."""

    @property
    def now_s(self) -> Seconds:
        """The present, in seconds since the start of the run."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The antennas that are up."""

    @property
    def waiting(self) -> Mapping[Id, LinkTask]:
        """Tasks without a link, in order of arrival."""

    @property
    def links(self) -> Mapping[Id, Link]:
        """Links that are being set up, stand, or are being taken down, by task."""

    def problem(self) -> LinkProblem:
        """Return what can still be built."""


class LinkBoard:
    """Keeps the books of tasks, antennas and feeds.

    Parameters
    ----------
    antennas : list of Resource
        All of them, up.
    switch_s : tuple of tuple of int
        How long a feed takes from one mode to another; empty where feeds do not matter.
    taken : tuple of Taken
        Maintenance that everybody knows of.
    """

    def __init__(
        self, antennas: list[Resource], switch_s: tuple[tuple[int, ...], ...] = (), taken: tuple[Taken, ...] = ()
    ) -> None:
        self.now_s: Seconds = 0.0
        self._antennas = {antenna.id: antenna for antenna in antennas}
        self._up = dict(self._antennas)
        self._switch_s = switch_s
        self._taken = taken
        self._tasks: dict[Id, LinkTask] = {}
        self._waiting: dict[Id, LinkTask] = {}
        self._links: dict[Id, Link] = {}
        self._fed: dict[Id, Fed] = {}  # the last use of each satellite's feed, which may be over
        self.resources: Mapping[Id, Resource] = MappingProxyType(self._up)
        self.waiting: Mapping[Id, LinkTask] = MappingProxyType(self._waiting)
        self.links: Mapping[Id, Link] = MappingProxyType(self._links)

    def problem(self) -> LinkProblem:
        """Return what can still be built: tasks that wait, with windows whose antennas are up."""
        under_way = [
            Taken(antenna, int(self.now_s), link.end_s + self._tasks[link.task].teardown_s)
            for link in self._links.values()
            for antenna in link.antennas
        ]
        return LinkProblem(
            tasks=tuple(task for task in map(self._still, self._waiting.values()) if task.windows),
            antennas=tuple(self._antennas),
            switch_s=self._switch_s,
            now_s=int(self.now_s),
            taken=(*(one for one in self._taken if one.end_s > self.now_s), *under_way),
            fed=tuple(self._fed.values()),
        )

    def add(self, task: LinkTask) -> None:
        """Let a task wait."""
        self._tasks[task.id] = self._waiting[task.id] = task

    def apply(self, action: Action) -> str | None:
        """Carry out an action on the visible state; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Reject):
            if self._waiting.pop(action.id, None) is None:
                return "it is not waiting"
            del self._tasks[action.id]
            return None
        if not isinstance(action, Link):
            return f"this board does not know {type(action).__name__}"
        task = self._waiting.get(action.task)
        why = "it is not waiting" if task is None else self._why_not(task, action)
        if why is None and task is not None:
            del self._waiting[action.task]
            self._links[action.task] = action
            self._fed[task.satellite] = Fed(task.satellite, action.start_s, action.end_s, task.mode)
        return why

    def end(self, task: Id) -> Link | None:
        """Forget a task: its link, if it has one, is over and its antennas are free."""
        self._waiting.pop(task, None)
        satellite, link = self._tasks.pop(task).satellite, self._links.pop(task, None)
        fed = self._fed.get(satellite)
        if link is not None and fed is not None and fed.start_s == link.start_s and fed.end_s > self.now_s:
            self._fed[satellite] = replace(fed, end_s=max(int(self.now_s), fed.start_s))  # it broke down
        return link

    def set_up(self, antenna: Id, up: bool) -> Resource:
        """Enter that an antenna is up or down."""
        if up:
            self._up[antenna] = self._antennas[antenna]
        else:
            self._up.pop(antenna, None)
        return self._antennas[antenna]

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes; contract checks compare it."""
        return hash((self.now_s, tuple(self._waiting), tuple(self._links), tuple(self._up), tuple(self._fed.items())))

    def _still(self, task: LinkTask) -> LinkTask:
        """Return a task with the windows that it could still use."""
        earliest = self.now_s + task.setup_s + task.min_s
        windows = tuple(
            window
            for window in task.windows
            if window.end_s >= earliest and all(a in self._up for a in window.antennas)
        )
        return task if windows == task.windows else replace(task, windows=windows)

    def _why_not(self, task: LinkTask, link: Link) -> str | None:
        if not task.min_s <= link.end_s - link.start_s <= task.max_s:
            return f"a link must last {task.min_s} to {task.max_s} s, {link.end_s - link.start_s} asked for"
        if link.start_s < self.now_s + task.setup_s:
            return f"its setup takes {task.setup_s} s"
        seen = [one for one in task.windows if one.start_s <= link.start_s and link.end_s <= one.end_s]
        if not any(set(one.antennas) == set(link.antennas) for one in seen):
            return "no window of these antennas is as long"
        for antenna in link.antennas:
            if (why := self._antenna_lacks(antenna, link, task)) is not None:
                return why
        fed = self._fed.get(task.satellite)
        if self._switch_s and fed and link.start_s < fed.end_s + self._switch_s[fed.mode][task.mode]:
            return "the feed is in use, or must be switched first"
        return None

    def _antenna_lacks(self, antenna: Id, link: Link, task: LinkTask) -> str | None:
        if antenna not in self._up:
            return f"{antenna} is down"
        if any(antenna in other.antennas for other in self._links.values()):
            return f"{antenna} serves another link"
        begin, end = link.start_s - task.setup_s, link.end_s + task.teardown_s
        if any(one.antenna == antenna and begin < one.end_s and one.start_s < end for one in self._taken):
            return f"{antenna} is taken by maintenance"
        return None
