"""Sequences of transfer robots against bounds that are known, and cells that cannot be."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.policies.shop.glass_board import Layout
from headway.policies.shop.glass_bound import cycle_bound_s, robot_bound_s, stage_bound_s
from headway.policies.shop.glass_nouns import Axis, Cell, Robot, Station
from headway.policies.shop.glass_rule import GlassRule, Name
from headway.sim.shop.glass_small import Region, drawn_cell, drawn_world, learning_cell


def cycle_s(cell: Cell, rule: GlassRule, num: int = 40) -> float:
    world = drawn_world(cell, num, 0)
    report = simulate(world, rule)
    assert not report.num_refused
    assert len(world.finished_s) == num
    return world.numbers()["cycle_s"]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from(["fifo", "cycle", "swap"]))
def test_no_rule_is_faster_than_the_bound(seed: int, rule: Name) -> None:
    cell = learning_cell(seed)
    world = drawn_world(cell, 60, seed)
    simulate(world, GlassRule(rule=rule))
    num = len(world.finished_s)
    assert num == 60
    # between the first and the last glass that leave, whatever the cell began with
    held = sum(one.kind in ("chamber", "buffer") for one in cell.stations) + cell.robot.num_hands
    span_s = world.finished_s[-1] - world.finished_s[0]
    assert span_s >= (num - 1 - held) * cycle_bound_s(world.view.layout) - 1e-6


@pytest.mark.parametrize("hands", [1, 2])
def test_the_sequence_reaches_the_bound_where_a_chamber_is_the_limit(hands: int) -> None:
    for seed in range(3):
        cell = drawn_cell(np.random.default_rng(seed), num_hands=hands, region="process")
        assert cycle_s(cell, GlassRule(rule="swap")) == pytest.approx(cycle_bound_s(Layout(cell)))


def test_the_backward_sequence_is_the_best_cycle_of_all_where_a_chamber_is_the_limit() -> None:
    cell = drawn_cell(np.random.default_rng(3), num_stages=3, region="process")
    all_of_them = [cycle_s(cell, GlassRule(rule="cycle", order=(0, *rest))) for rest in permutations((1, 2, 3))]
    assert cycle_s(cell, GlassRule(rule="cycle")) == pytest.approx(min(all_of_them))


def test_two_hands_are_worth_most_where_the_robot_is_the_limit() -> None:
    gain: dict[Region, float] = {}
    regions: tuple[Region, ...] = ("transport", "process")
    for region in regions:
        times = [
            cycle_s(drawn_cell(np.random.default_rng(1), num_hands=hands, region=region), GlassRule(rule="swap"))
            for hands in (1, 2)
        ]
        gain[region] = times[0] / times[1]
    assert gain["transport"] > 1.1
    assert gain["process"] < gain["transport"]


def test_an_axis_speeds_up_and_slows_down() -> None:
    axis = Axis(top_speed=2.0, acceleration=1.0)
    assert axis.travel_s(0.0) == 0.0
    assert axis.travel_s(1.0) == pytest.approx(2.0)  # a triangle: one second up, one down
    assert axis.travel_s(4.0) == pytest.approx(4.0)  # just touches its top speed
    assert axis.travel_s(8.0) == pytest.approx(6.0)


def test_bounds_of_a_cell_by_hand() -> None:
    """One chamber between loader and unloader, all moves 1 s, all picks and places 2 s each, 10 s of processing."""
    robot = Robot(turn=Axis(1e9, 4.0), reach=Axis(1e9, 4.0), lift=Axis(1e9, 1e18), stroke_m=0.0)
    stations = (
        Station(id="in", kind="loader"),
        Station(id="out", kind="unloader", angle_rad=2.0),
        Station(id="c", kind="chamber", stage=1, process_s=10.0, angle_rad=1.0),
    )
    layout = Layout(Cell(robot=robot, stations=stations))
    assert layout.handle_s == pytest.approx([2.0] * 3)
    assert layout.move_s[0][2] == pytest.approx(1.0)
    # put down (1 + 2), go to the loader (root 2), pick (2), bring (1), on top of 10 + 2 + 2
    assert stage_bound_s(layout, 1) == pytest.approx(14.0 + 3.0 + 2**0.5 + 2.0 + 1.0)
    # four times 2 s, two loaded moves of 1 s, then back from the unloader and from the chamber
    assert robot_bound_s(layout) == pytest.approx(8.0 + 2.0 + 2 * 1.0)


def test_cells_that_cannot_be() -> None:
    ends = (Station(id="in", kind="loader"), Station(id="out", kind="unloader"))
    chamber = Station(id="c", kind="chamber", stage=2)
    with pytest.raises(ConfigError, match=r"stages from 1, got stages \[2\]"):
        Layout(Cell(robot=Robot(), stations=(*ends, chamber)))
    with pytest.raises(ConfigError, match="one loader and one unloader, got 1 and 0"):
        Layout(Cell(robot=Robot(), stations=ends[:1]))
    far = Station(id="c", kind="chamber", stage=1, along_m=3.0)
    with pytest.raises(ConfigError, match="without a travel axis"):
        Layout(Cell(robot=Robot(), stations=(*ends, far)))
    with pytest.raises(ConfigError, match="1 or 2 hands, got 3"):
        Layout(Cell(robot=Robot(num_hands=3), stations=(*ends, Station(id="c", kind="chamber", stage=1))))


def test_bad_parameters() -> None:
    with pytest.raises(ConfigError, match="fifo, cycle or swap"):
        GlassRule(rule="lifo")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="each stage from 0 once"):
        GlassRule(order=(1, 2))
    world = drawn_world(drawn_cell(np.random.default_rng(0)), 3, 0)
    event = world.next()
    assert event is not None
    with pytest.raises(ConfigError, match="must have 5 stages for this cell"):
        GlassRule(rule="cycle", order=(0, 1)).decide(event, world.view)
