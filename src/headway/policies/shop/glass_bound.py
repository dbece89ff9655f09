"""How fast a cell can be at the most: seconds per glass that no schedule falls below in the long run."""

from __future__ import annotations

import math

from headway.core.nouns import Seconds
from headway.policies.shop.glass_board import Layout


def cycle_bound_s(layout: Layout) -> Seconds:
    """Seconds per glass below which no cell of this layout can get: that of its robot, or that of its slowest stage.

    Examples
    --------
    >>> from headway.policies.shop.glass_nouns import Cell, Robot, Station
    >>> ends = (Station(id="in", kind="loader"), Station(id="out", kind="unloader", angle_rad=3.0))
    >>> chamber = Station(id="etch", kind="chamber", stage=1, process_s=100.0, angle_rad=1.5)
    >>> slow = Layout(Cell(robot=Robot(), stations=(*ends, chamber)))
    >>> cycle_bound_s(slow) == stage_bound_s(slow, 1) > 100.0
    True
    """
    stages = [stage_bound_s(layout, stage) for stage in range(1, layout.num_stages + 1)]
    return max(robot_bound_s(layout), *stages)


def stage_bound_s(layout: Layout, stage: int) -> Seconds:
    """Seconds per glass of the chambers of one stage.

    A chamber processes, is emptied and is filled again. A robot with one hand must in between put down what it took,
    and fetch what comes next; one with two hands exchanges the one for the other.
    """
    cycles = []
    for chamber in layout.of_stage[stage]:
        cycle_s = layout.process_s[chamber] + 2 * layout.handle_s[chamber]
        if layout.cell.robot.num_hands == 1:
            cycle_s += _fetching_s(layout, chamber, stage)
        cycles.append(cycle_s)
    return 1.0 / sum([1.0 / cycle_s if cycle_s else math.inf for cycle_s in cycles])


def robot_bound_s(layout: Layout) -> Seconds:
    """Seconds per glass that the robot is busy at least."""
    stages = range(layout.num_stages + 1)
    handle_s = 0.0
    for stage in stages:
        handle_s += min(layout.handle_s[one] for one in layout.of_stage[stage])
        handle_s += min(layout.handle_s[one] for one in layout.of_stage[stage + 1])
    if layout.cell.robot.num_hands == 2:
        return handle_s + _visits_s(layout)
    loaded_s = sum([_nearest_s(layout, stage, stage + 1) for stage in stages])
    return handle_s + loaded_s + _empty_s(layout)


def _nearest_s(layout: Layout, one: int, other: int) -> Seconds:
    """Seconds of the shortest move from a station of one stage to a station of another (or to a buffer beside it)."""
    ends = [layout.move_s[a][b] for a in layout.of_stage[one] for b in layout.of_stage[other]]
    return min(ends)


def _fetching_s(layout: Layout, chamber: int, stage: int) -> Seconds:
    """Seconds between emptying and filling a chamber with one hand: put down, go for the next, bring it."""
    downs = [*layout.of_stage[stage + 1], *layout.buffers]
    ups = [*layout.of_stage[stage - 1], *layout.buffers]
    move, handle = layout.move_s, layout.handle_s
    return min(
        move[chamber][down] + handle[down] + move[down][up] + handle[up] + move[up][chamber]
        for down in downs
        for up in ups
    )


def _empty_s(layout: Layout) -> Seconds:
    """Seconds of moves with an empty hand: every place is followed by a pick elsewhere, or by waiting right there."""
    num = layout.num_stages + 1
    cost = [[_between_s(layout, placed, picked) for picked in range(num)] for placed in range(1, num + 1)]
    best = {0: 0.0}  # by the set of stages picked from so far
    for row in cost:
        found: dict[int, float] = {}
        for taken, spent_s in best.items():
            for picked, more_s in enumerate(row):
                if not taken >> picked & 1:
                    key = taken | 1 << picked
                    found[key] = min(found.get(key, math.inf), spent_s + more_s)
        best = found
    return best[(1 << num) - 1]


def _between_s(layout: Layout, placed: int, picked: int) -> Seconds:
    """Seconds from putting down for one stage to picking up after another."""
    return min(
        layout.move_s[one][other] if one != other else layout.process_s[one]
        for one in layout.of_stage[placed]
        for other in layout.of_stage[picked]
    )


def _visits_s(layout: Layout) -> Seconds:
    """Seconds of moves with two hands: a visit for every stage of a glass, half a visit at either end."""
    total_s = 0.0
    for stage in range(layout.num_stages + 2):
        share = 0.5 if stage in (0, layout.num_stages + 1) else 1.0
        total_s += share * min(_leaving_s(layout, station) for station in layout.of_stage[stage])
    return total_s


def _leaving_s(layout: Layout, station: int) -> Seconds:
    """Seconds of the shortest move away from a station, or of waiting there until it is done once more."""
    away = [seconds for other, seconds in enumerate(layout.move_s[station]) if other != station]
    is_chamber = station not in (layout.loader, layout.unloader)
    return min(*away, layout.process_s[station] if is_chamber else math.inf)
