"""Words of link planning: tasks with windows, antennas, feeds with modes, a problem, and the links that solve it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from headway.core.actions import Action
from headway.core.nouns import Id, Work


class Window(Struct, frozen=True):
    """When a satellite can be seen by antennas.

    Parameters
    ----------
    antennas : tuple of str
        All of them are needed at once; most often one.
    start_s, end_s : int
        A link must lie within, in seconds since the start of the run.
    """

    antennas: tuple[Id, ...]
    start_s: int
    end_s: int


class LinkTask(Work, frozen=True, kw_only=True):
    """A link to be built in one of some windows.

    Parameters
    ----------
    satellite : str
        Whose link it is.
    windows : tuple of Window
        At least one.
    min_s, max_s : int
        A shorter link is worth nothing, a longer one no more, ``1 <= min_s <= max_s``.
    setup_s, teardown_s : int
        Its antennas are taken by so much before and after it, >= 0.
    mode : int
        In which the satellite's feed must be.
    """

    satellite: Id
    windows: tuple[Window, ...]
    min_s: int
    max_s: int
    setup_s: int = 0
    teardown_s: int = 0
    mode: int = 0


class Taken(Struct, frozen=True):
    """An antenna is taken: by maintenance, or by a link under way with its setup and teardown."""

    antenna: Id
    start_s: int
    end_s: int


class Fed(Struct, frozen=True):
    """A satellite's feed is used in a mode."""

    satellite: Id
    start_s: int
    end_s: int
    mode: int


class LinkProblem(Struct, frozen=True, kw_only=True):
    """Which links to build, and when, so that they last as long as possible in all.

    Parameters
    ----------
    tasks : tuple of LinkTask
        Each gives one link at most.
    antennas : tuple of str
        Each serves one satellite at a time.
    switch_s : tuple of tuple of int
        How long a feed takes from one mode to another, ``[from][to]``; empty where satellites have as many links at
        once as they like.
    now_s : int
        Nothing begins sooner.
    taken : tuple of Taken
        What antennas are taken by already.
    fed : tuple of Fed
        What feeds are used for already.
    name : str
        For people.
    """

    tasks: tuple[LinkTask, ...]
    antennas: tuple[Id, ...]
    switch_s: tuple[tuple[int, ...], ...] = ()
    now_s: int = 0
    taken: tuple[Taken, ...] = ()
    fed: tuple[Fed, ...] = ()
    name: str = "links"

    def taken_spans(self) -> dict[Id, list[tuple[int, int]]]:
        """Return when each antenna is taken, in order, spans that touch as one."""
        spans: dict[Id, list[tuple[int, int]]] = {antenna: [] for antenna in self.antennas}
        for one in sorted(self.taken, key=lambda one: one.start_s):
            own = spans[one.antenna]
            if own and one.start_s <= own[-1][1]:
                own[-1] = own[-1][0], max(one.end_s, own[-1][1])
            else:
                own.append((one.start_s, one.end_s))
        return spans

    @property
    def most_s(self) -> int:
        """What all links would last if none was in the way of another."""
        longest = (max((w.end_s - w.start_s for w in task.windows), default=0) for task in self.tasks)
        return sum(min(task.max_s, span) for task, span in zip(self.tasks, longest, strict=True) if span >= task.min_s)


class Link(Action, frozen=True, gc=False):
    """Begin to set a link up now; it lasts from ``start_s`` to ``end_s``.

    Parameters
    ----------
    task : str
        A task that waits.
    antennas : tuple of str
        Those of one of its windows.
    start_s, end_s : int
        When the link itself begins, its setup from now on, and ends.
    """

    task: Id
    antennas: tuple[Id, ...]
    start_s: int
    end_s: int

    @property
    def subject(self) -> Id:
        """The task's id."""
        return self.task


def link_s(links: Iterable[Link]) -> int:
    """Return how long links last in all."""
    return sum(link.end_s - link.start_s for link in links)
