"""What a network sees of a robot cell: numbers of each station, of each choice and of the whole, in cycles of the cell.

Every time is divided by the seconds per glass below which the cell cannot fall, so that cells fast and slow look alike.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import ConfigError
from headway.core.learning import Question
from headway.policies.shop.glass_board import NOBODY, CellView, Layout
from headway.policies.shop.glass_bound import cycle_bound_s, robot_bound_s, stage_bound_s
from headway.policies.shop.glass_moves import free_places, next_stage

MAX_STATIONS = 12
"""Loader, unloader and whatever else, at most; smaller cells are padded."""
NUM_FIXED = 9
NUM_SEEN = 9
NUM_OF_STATION = NUM_FIXED + NUM_SEEN
NUM_OF_CHOICE = 4
NUM_OF_ALL = 8
WAIT = 0
"""The first choice; then come picks, by station, then places."""
NUM_CHOICES = 1 + 2 * MAX_STATIONS
KINDS = ("loader", "chamber", "buffer", "unloader")
Floats = NDArray[np.float32]


class Sight:
    """Looks at cells of one layout.

    Parameters
    ----------
    layout : Layout
        Of at most `MAX_STATIONS` stations.
    """

    def __init__(self, layout: Layout) -> None:
        num = len(layout.cell.stations)
        if num > MAX_STATIONS:
            raise ConfigError(
                f"shop/glass-flow-robots: a cell must have <= {MAX_STATIONS} stations, got {num}. Use shop/glass-rule."
            )
        self.layout = layout
        self.cycle_s = cycle_bound_s(layout)
        self._robot_frac = robot_bound_s(layout) / self.cycle_s
        self._fixed = [self._of_nature(station) for station in range(num)]

    def question(self, view: CellView, picks: dict[int, int], places: dict[int, int], may_wait: bool) -> Question:
        """Put the choice among picks, places and waiting as a question."""
        stations = np.zeros((MAX_STATIONS, NUM_OF_STATION), np.float32)
        choices = np.zeros((2 * MAX_STATIONS, NUM_OF_CHOICE), np.float32)
        legal = np.zeros(NUM_CHOICES, bool)
        legal[WAIT] = may_wait
        held = [view.stage_of(glass) for glass in view.hands if glass]
        seen = [self._of_state(view, station, held) for station in range(len(self._fixed))]
        stations[: len(seen)] = [fixed + now for fixed, now in zip(self._fixed, seen, strict=True)]
        ends = sorted(self._ends(view))
        for station in picks:
            legal[1 + station] = True
            choices[station] = self._of_pick(view, station, ends)
        for station in places:
            legal[1 + MAX_STATIONS + station] = True
            choices[MAX_STATIONS + station] = self._of_place(view, station, ends)
        whole = np.array(self._of_all(view, held, ends), np.float32)
        return Question({"stations": stations, "choices": choices, "whole": whole}, legal)

    def _cycles(self, seconds: float) -> float:
        """Bring seconds into a range that a network likes."""
        return max(-1.0, min(seconds / self.cycle_s, 3.0))

    def _of_nature(self, station: int) -> list[float]:
        one, layout = self.layout.cell.stations[station], self.layout
        load, share, stage = 0.0, 1.0, 0.0
        if one.kind == "chamber":
            load = stage_bound_s(layout, one.stage) / self.cycle_s
            share = 1.0 / len(layout.of_stage[one.stage])
            stage = one.stage / layout.num_stages
        kinds = [float(one.kind == kind) for kind in KINDS]
        return [*kinds, stage, share, load, self._cycles(layout.process_s[station]), self._handling(station)]

    def _handling(self, station: int) -> float:
        return self._cycles(self.layout.handle_s[station])

    def _of_state(self, view: CellView, station: int, held: list[int]) -> list[float]:
        layout, glass = self.layout, view.glass[station]
        is_loader = station == layout.loader
        has_glass = bool(view.queue) if is_loader else bool(glass)
        stage = layout.cell.stations[station].stage
        takes = stage if station != layout.unloader else layout.num_stages + 1
        is_done = view.is_done[station] or (is_loader and has_glass)
        left = self._cycles(view.done_s[station] - view.now_s) if glass else 0.0
        has_next = has_glass and bool(free_places(view, next_stage(view, station)))
        return [
            float(has_glass),
            float(is_done),
            left,
            self._cycles(layout.move_s[view.at][station]),
            float(view.at == station),
            float(has_next),
            float(takes in held),
            float(is_loader and len(view.queue) > 1),
            self._feeding(view, takes) if takes else 0.0,
        ]

    def _feeding(self, view: CellView, stage: int) -> float:
        """In how many cycles the stage before has something for this one; 3 for nothing in sight."""
        if stage == 1:
            return 0.0 if view.queue else 3.0
        left = [view.done_s[one] - view.now_s for one in self.layout.of_stage[stage - 1] if view.glass[one]]
        return max(self._cycles(min(left)), 0.0) if left else 3.0

    def _ends(self, view: CellView) -> Iterable[float]:
        """In how many seconds chambers will be done, as planned."""
        return [
            view.done_s[station] - view.now_s
            for station, glass in enumerate(view.glass)
            if glass and not view.is_done[station]
        ]

    def _of_pick(self, view: CellView, station: int, ends: list[float]) -> list[float]:
        layout, move_s = self.layout, self.layout.move_s
        there_s = move_s[view.at][station]
        wait_s = max(view.done_s[station] - view.now_s - there_s, 0.0) if view.glass[station] else 0.0
        took_s = there_s + wait_s + layout.handle_s[station]
        then_s = min(move_s[station][one] for one in layout.of_stage[next_stage(view, station)])
        return [self._cycles(one) for one in (wait_s, took_s, then_s, self._next(ends, took_s))]

    def _of_place(self, view: CellView, station: int, ends: list[float]) -> list[float]:
        took_s = self.layout.move_s[view.at][station] + self.layout.handle_s[station]
        return [0.0, self._cycles(took_s), 0.0, self._cycles(self._next(ends, took_s))]

    def _next(self, ends: list[float], took_s: float) -> float:
        """Seconds from the end of a move to the first chamber that is done then or later; negative for earlier."""
        return ends[0] - took_s if ends else 3.0 * self.cycle_s

    def _of_all(self, view: CellView, held: list[int], ends: list[float]) -> list[float]:
        num = self.layout.num_stages + 1
        return [
            float(len(view.hands) == 2),
            float(len(held) == 1),
            float(len(held) == 2),
            held[0] / num if held else 0.0,
            held[-1] / num if held else 0.0,
            self._robot_frac,
            self._cycles(self._next(ends, 0.0)),
            sum([glass != NOBODY for glass in view.glass]) / len(view.glass),
        ]
