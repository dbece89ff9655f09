"""The visible state of a robot cell: what stands where, what the hands hold, what the robot is about."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headway.core.actions import Action
from headway.core.nouns import Id, Resource, Seconds, Work
from headway.policies.shop.glass_nouns import Cell, Pick, Place

NOBODY = ""
"""Stands where there is no glass."""


class Layout:
    """What never changes in a cell, ready to be looked up.

    Parameters
    ----------
    cell : Cell
        The cell; raises `ConfigError` when there can be no such cell.

    Attributes
    ----------
    move_s : array [stations, stations]
        Seconds from one to another.
    handle_s : array [stations]
        Seconds of a pick or a place there.
    of_stage : tuple of tuple of int
        By stage, the places in `cell.stations` where it is done: the loader is stage 0, the unloader the last.
    buffers : tuple of int
        Places where glass of any stage may rest.
    """

    def __init__(self, cell: Cell) -> None:
        cell.check()
        self.cell = cell
        num = len(cell.stations)
        self.place = {station.id: nth for nth, station in enumerate(cell.stations)}
        self.loader = [station.kind for station in cell.stations].index("loader")
        self.unloader = [station.kind for station in cell.stations].index("unloader")
        self.buffers = tuple(nth for nth, station in enumerate(cell.stations) if station.kind == "buffer")
        self.num_stages = cell.num_stages
        chambers = [
            tuple(nth for nth, one in enumerate(cell.stations) if one.stage == stage and one.kind == "chamber")
            for stage in range(1, self.num_stages + 1)
        ]
        self.of_stage = ((self.loader,), *chambers, (self.unloader,))
        self.process_s = [station.process_s for station in cell.stations]
        self.handle_s = [cell.handle_s(nth) for nth in range(num)]
        self.move_s = [[cell.move_s(one, other) for other in range(num)] for one in range(num)]

    @property
    def move_table(self) -> NDArray[np.float64]:
        """`move_s` as an array [stations, stations]."""
        return np.array(self.move_s)


class CellView(Protocol):
    """What a policy may see of a cell. Stations are meant by their places in `layout.cell.stations`."""

    @property
    def now_s(self) -> Seconds:
        """The present, in seconds since the start of the run."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The robot and the stations."""

    @property
    def layout(self) -> Layout:
        """What never changes."""

    @property
    def queue(self) -> Mapping[Id, Work]:
        """Glass in the loader, in order of arrival."""

    @property
    def glass(self) -> list[Id]:
        """By station, the glass there; empty for none, and for the loader, which has its queue."""

    @property
    def done_s(self) -> list[Seconds]:
        """By station, when its glass is or was done: as planned, until it is; infinite where there is none."""

    @property
    def is_done(self) -> list[bool]:
        """By station, whether its glass is done."""

    @property
    def hands(self) -> list[Id]:
        """By hand, the glass in it; empty for none."""

    @property
    def at(self) -> int:
        """Where the robot is, or is going to."""

    @property
    def doing(self) -> Action | None:
        """What it is about; None when it is idle."""

    def stage_of(self, glass: Id) -> int:
        """Which stage comes next for a glass in the cell; one more than there are when it is to leave."""


class CellBoard:
    """Keeps the books of a cell; the world writes it, policies read it.

    Parameters
    ----------
    cell : Cell
        The cell.
    """

    def __init__(self, cell: Cell) -> None:
        self.now_s: Seconds = 0.0
        self.layout = Layout(cell)
        num = len(cell.stations)
        self._queue: dict[Id, Work] = {}
        self.queue: Mapping[Id, Work] = MappingProxyType(self._queue)
        self.glass: list[Id] = [NOBODY] * num
        self.done_s: list[Seconds] = [math.inf] * num
        self.is_done: list[bool] = [False] * num
        self.hands: list[Id] = [NOBODY] * cell.robot.num_hands
        self.at = self.layout.loader
        self.doing: Action | None = None
        self.num_finished = 0
        self._stage: dict[Id, int] = {}
        self.resources: Mapping[Id, Resource] = MappingProxyType(
            {
                "robot": Resource(id="robot", kind="robot", capacity={"hands": float(cell.robot.num_hands)}),
                **{one.id: Resource(id=one.id, kind=one.kind, capacity={"glass": 1.0}) for one in cell.stations},
            }
        )

    def stage_of(self, glass: Id) -> int:
        """Which stage comes next for a glass in the cell; one more than there are when it is to leave."""
        return self._stage[glass]

    def add(self, work: Work) -> None:
        """Let a glass wait in the loader."""
        self._queue[work.id] = work
        self._stage[work.id] = 1

    def apply(self, action: Action) -> str | None:
        """Let the robot begin; returns why not, having changed nothing, when it cannot."""
        if not isinstance(action, Pick | Place):
            return f"a cell does not know {type(action).__name__}"
        if self.doing is not None:
            return "the robot is busy"
        station = self.layout.place.get(action.station)
        if station is None:
            return f"there is no station {action.station!r}"
        if not 0 <= action.hand < len(self.hands):
            return f"there is no hand {action.hand}"
        why = self._why_no_pick(station, action) if isinstance(action, Pick) else self._why_no_place(station, action)
        if why is None:
            self.at, self.doing = station, action
        return why

    def end(self) -> Id:
        """Enter that the robot is done with what it was about; returns the glass that leaves the cell, if one does."""
        action, station = self.doing, self.at
        self.doing = None
        if isinstance(action, Pick):
            self.hands[action.hand] = self._take(station)
            return NOBODY
        assert isinstance(action, Place)
        glass, self.hands[action.hand] = self.hands[action.hand], NOBODY
        if station == self.layout.unloader:
            del self._stage[glass]
            self.num_finished += 1
            return glass
        self.glass[station] = glass
        if station in self.layout.buffers:
            self.done_s[station], self.is_done[station] = self.now_s, True
        else:
            self._stage[glass] += 1
            self.done_s[station] = self.now_s + self.layout.process_s[station]
        return NOBODY

    def process(self, station: int) -> None:
        """Enter that a chamber is done."""
        self.done_s[station], self.is_done[station] = self.now_s, True

    def drop_all(self) -> list[Id]:
        """Forget all glass in the cell, for it stands still for good; returns it."""
        lost = list(self._stage)
        self._queue.clear()
        self._stage.clear()
        self.glass[:] = [NOBODY] * len(self.glass)
        self.hands[:] = [NOBODY] * len(self.hands)
        self.is_done[:] = [False] * len(self.is_done)
        self.done_s[:] = [math.inf] * len(self.done_s)
        return lost

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes."""
        visible = (self.glass, self.done_s, self.is_done, self.hands, list(self._queue), list(self._stage.items()))
        return hash((self.now_s, self.at, self.doing, self.num_finished, *[tuple(one) for one in visible]))

    def _take(self, station: int) -> Id:
        if station == self.layout.loader:
            glass = next(iter(self._queue))
            del self._queue[glass]
            return glass
        glass, self.glass[station] = self.glass[station], NOBODY
        self.done_s[station], self.is_done[station] = math.inf, False
        return glass

    def _why_no_pick(self, station: int, action: Pick) -> str | None:
        if self.hands[action.hand]:
            return "this hand is full"
        if not (self._queue if station == self.layout.loader else self.glass[station]):
            return "there is no glass"
        return None

    def _why_no_place(self, station: int, action: Place) -> str | None:
        glass = self.hands[action.hand]
        if not glass:
            return "this hand is empty"
        if self.glass[station] or station == self.layout.loader:
            return "there is no room"
        if station not in self.layout.buffers and station not in self.layout.of_stage[self._stage[glass]]:
            return f"stage {self._stage[glass]} of {glass} is not done there"
        return None
