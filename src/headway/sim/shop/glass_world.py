"""Virtual time of a robot cell: what the robot and the chambers take, and glass that arrives."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count

from msgspec import Struct

from headway.core.actions import Action, Wake
from headway.core.events import Arrived, Event, Failed, Finished, Woke
from headway.core.nouns import Seconds
from headway.policies.shop.glass_board import NOBODY, CellBoard
from headway.policies.shop.glass_nouns import Cell, Glass, Pick, Processed, RobotDone


class HiddenGlass(Struct, frozen=True, kw_only=True):
    """A glass and what only the world knows of it.

    Parameters
    ----------
    glass : Glass
        What policies may know.
    stretch : tuple of float
        By stage, how many times longer than planned it takes, each > 0; empty for as planned.
    """

    glass: Glass
    stretch: tuple[float, ...] = ()


class CellWorld:
    """Plays a robot cell in virtual time.

    A robot that picks goes there, waits until the glass is done, and takes it. When nothing is left that could happen
    and glass is still in the cell, it all fails: hands that hold what has nowhere to go, or a policy that does nothing.

    Parameters
    ----------
    cell : Cell
        Robot and stations.
    glasses : sequence of HiddenGlass
        What arrives.
    """

    def __init__(self, cell: Cell, glasses: Sequence[HiddenGlass]) -> None:
        self.view = CellBoard(cell)
        self.finished_s: list[Seconds] = []
        self.busy_s = 0.0  # of the robot, waiting at stations included
        self._hidden = {one.glass.id: one for one in glasses}
        self._true_done_s = [0.0] * len(cell.stations)
        self._order = count()
        self._due: list[tuple[Seconds, int, Event | None]] = []
        for one in glasses:
            self._plan(one.glass.arrival_s, Arrived(at_s=one.glass.arrival_s, work=one.glass))

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        if not self._due:
            self._fail_all()
        if not self._due:
            return None
        self.view.now_s, _, event = heapq.heappop(self._due)
        if event is None:
            return self._end_of_action()
        if isinstance(event, Arrived):
            self.view.add(event.work)
        elif isinstance(event, Processed):
            self.view.process(self.view.layout.place[event.station])
        return event

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Wake):
            at_s = max(action.at_s, self.view.now_s)
            self._plan(at_s, Woke(at_s=at_s, tag=action.tag))
            return None
        origin = self.view.at
        why = self.view.apply(action)
        if why is None:
            self._begin(action, origin, self.view.at)
        return why

    def numbers(self) -> dict[str, float]:
        """What the run came to: throughput between the first and the last quarter, and what the robot did."""
        ends = self.finished_s
        if len(ends) < 4:
            return {"num_finished": float(len(ends))}
        first, last = len(ends) // 4, len(ends) - 1 - len(ends) // 4
        cycle_s = (ends[last] - ends[first]) / max(last - first, 1)
        return {
            "num_finished": float(len(ends)),
            "cycle_s": cycle_s,
            "glasses_per_h": 3600.0 / cycle_s if cycle_s else 0.0,
            "makespan_s": ends[-1],
            "robot_busy_frac": self.busy_s / ends[-1],
        }

    def _begin(self, action: Action, origin: int, station: int) -> None:
        layout, view = self.view.layout, self.view
        at_s = view.now_s + layout.move_s[origin][station]
        if isinstance(action, Pick) and view.glass[station]:
            at_s = max(at_s, self._true_done_s[station])
        at_s += layout.handle_s[station]
        self.busy_s += at_s - view.now_s
        self._plan(at_s, None)

    def _end_of_action(self) -> Event:
        view, placed = self.view, not isinstance(self.view.doing, Pick)
        station, name = view.at, view.layout.cell.stations[view.at].id
        gone = view.end()
        if gone != NOBODY:
            self.finished_s.append(view.now_s)
            return Finished(at_s=view.now_s, id=gone)
        if placed and station not in view.layout.buffers:
            self._process(station)
        return RobotDone(at_s=view.now_s, station=name)

    def _process(self, station: int) -> None:
        view = self.view
        glass, one = view.glass[station], view.layout.cell.stations[station]
        stretch = self._hidden[glass].stretch
        took_s = one.process_s * (stretch[one.stage - 1] if stretch else 1.0)
        self._true_done_s[station] = at_s = view.now_s + took_s
        self._plan(at_s, Processed(at_s=at_s, station=one.id, id=glass))

    def _fail_all(self) -> None:
        for glass in self.view.drop_all():
            why = "the cell stands still: nothing is left that could happen"
            self._plan(self.view.now_s, Failed(at_s=self.view.now_s, id=glass, why=why))

    def _plan(self, at_s: Seconds, event: Event | None) -> None:
        heapq.heappush(self._due, (at_s, next(self._order), event))
