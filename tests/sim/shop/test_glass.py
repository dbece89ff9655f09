"""A robot cell in virtual time."""

from __future__ import annotations

from collections.abc import Iterable

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from headway.core.actions import Action
from headway.core.drivers import simulate
from headway.core.events import Event, Failed, Finished
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.shop.glass_board import CellView
from headway.policies.shop.glass_nouns import Cell, Glass, Pick, Place, Processed, Robot, RobotDone, Station
from headway.policies.shop.glass_rule import GlassRule
from headway.sim.shop import gym
from headway.sim.shop.asking_env import AskingEnv
from headway.sim.shop.glass_small import drawn_cell, drawn_world, start
from headway.sim.shop.glass_world import CellWorld, HiddenGlass

ENDS = (Station(id="in", kind="loader"), Station(id="out", kind="unloader", angle_rad=3.0))


def one_chamber(num_hands: int = 1) -> Cell:
    return Cell(
        robot=Robot(num_hands=num_hands),
        stations=(*ENDS, Station(id="c", kind="chamber", stage=1, process_s=30.0, angle_rad=1.0)),
    )


def glass(nth: int, stretch: tuple[float, ...] = ()) -> HiddenGlass:
    return HiddenGlass(glass=Glass(id=f"g{nth}", kind="glass", arrival_s=0.0), stretch=stretch)


class Script:
    """Does one action after the other whenever the robot is idle."""

    def __init__(self, *actions: Action) -> None:
        self._actions = actions

    def reset(self, rng: np.random.Generator) -> None:
        self._todo = list(self._actions)

    def decide(self, event: Event, view: CellView) -> Iterable[Action]:
        return [self._todo.pop(0)] if self._todo and view.doing is None else []


def played(world: CellWorld, policy: Script | GlassRule) -> MemoryTrace:
    trace = MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    return trace


def test_times_of_a_glass_add_up() -> None:
    cell = one_chamber()
    world = CellWorld(cell, [glass(0, stretch=(1.5,))])
    trace = played(world, Script(Pick("in"), Place("c"), Pick("c"), Place("out")))
    put_s = 2 * cell.handle_s(0) + cell.move_s(0, 2)
    (done,) = (one for one in trace.records if isinstance(one, Processed))
    assert done.at_s == pytest.approx(put_s + 45.0), "the truth is half as long again as planned"
    # the robot has waited at the chamber
    assert world.finished_s == [pytest.approx(done.at_s + 2 * cell.handle_s(0) + cell.move_s(2, 1))]
    assert [type(one) for one in trace.records if isinstance(one, RobotDone | Finished)] == [RobotDone] * 3 + [Finished]
    assert world.busy_s == pytest.approx(world.finished_s[0])


def test_hands_that_hold_what_has_nowhere_to_go_are_a_deadlock() -> None:
    world = CellWorld(one_chamber(), [glass(0), glass(1)])
    trace = played(world, Script(Pick("in"), Place("c"), Pick("in"), Place("c")))
    failed = [one for one in trace.records if isinstance(one, Failed)]
    assert {one.id for one in failed} == {"g0", "g1"}
    assert "stands still" in failed[0].why
    assert world.next() is None


@pytest.mark.parametrize(
    ("first", "then", "why"),
    [
        ((), Place("c"), "this hand is empty"),
        ((), Pick("c"), "there is no glass"),
        ((), Pick("in", 1), "there is no hand 1"),
        ((), Pick("attic"), "there is no station 'attic'"),
        ((Pick("in"),), Pick("in"), "this hand is full"),
        ((Pick("in"),), Place("out"), "stage 1 of g0 is not done there"),
        ((Pick("in"),), Place("in"), "there is no room"),
    ],
)
def test_what_cannot_be_is_refused(first: tuple[Action, ...], then: Action, why: str) -> None:
    world = CellWorld(one_chamber(), [glass(0), glass(1)])
    script = Script(*first, then)
    session = Session(script, world.view)
    report = simulate(world, script, session=session)
    assert list(report.refused) == [why]


def test_a_busy_robot_takes_no_orders() -> None:
    world = CellWorld(one_chamber(), [glass(0)])
    world.next()
    assert world.apply(Pick("in")) is None
    before = world.view.fingerprint()
    assert world.apply(Pick("in")) == "the robot is busy"
    assert world.view.fingerprint() == before


def test_the_same_seed_is_the_same_day() -> None:
    cell = drawn_cell(np.random.default_rng(0), num_hands=2)
    ends = [played(drawn_world(cell, 12, 3, noise=0.2, interval_s=30.0), GlassRule()).records for _ in range(2)]
    assert list(ends[0]) == list(ends[1])


def test_the_environment_keeps_gymnasiums_rules() -> None:
    check_env(AskingEnv(start), skip_render_check=True)
    gym.register()
    env = gymnasium.make("headway/TransferRobot-v0")
    _, info = env.reset(seed=1)
    total, is_over = 0.0, False
    while not is_over:
        _, reward, is_over, _, info = env.step(np.flatnonzero(info["action_mask"])[-1])
        total += float(reward)
    assert total < 24.0, "one for each glass, less the time that it took"
