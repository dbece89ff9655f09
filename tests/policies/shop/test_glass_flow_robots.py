"""Transfer robots: the network's questions, its weights, and what it may do."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.app.learning.torch_ops import TORCH, to_torch
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Arrived
from headway.core.learning import Question, answered
from headway.core.nouns import Resource
from headway.numerics.nets import NUMPY, load
from headway.policies.shop.glass_board import CellBoard
from headway.policies.shop.glass_bound import cycle_bound_s
from headway.policies.shop.glass_flow_robots import SHIPPED, GlassFlowRobots
from headway.policies.shop.glass_flow_robots_net import first_weights, forward
from headway.policies.shop.glass_moves import picks, places
from headway.policies.shop.glass_nouns import Cell, Glass, Pick, Place, Robot, Station
from headway.policies.shop.glass_sight import MAX_STATIONS, NUM_CHOICES, WAIT
from headway.sim.shop.glass_small import drawn_cell, drawn_world, learning_cell, start


def line(num_stages: int = 1, num_hands: int = 1, **more: object) -> Cell:
    ends = (Station(id="in", kind="loader"), Station(id="out", kind="unloader", angle_rad=3.0))
    chambers = [
        Station(id=f"c{nth}", kind="chamber", stage=nth, process_s=10.0, angle_rad=nth / 2)
        for nth in range(1, num_stages + 1)
    ]
    return Cell(robot=Robot(num_hands=num_hands), stations=(*ends, *chambers))


def board(cell: Cell, num_glasses: int = 3) -> CellBoard:
    made = CellBoard(cell)
    for nth in range(num_glasses):
        made.add(Glass(id=f"g{nth}", kind="glass", arrival_s=0.0))
    return made


def done(view: CellBoard, action: Pick | Place) -> None:
    assert view.apply(action) is None
    view.end()


def test_a_full_hand_keeps_to_what_can_go_on() -> None:
    view = board(line(num_hands=1))
    assert picks(view) == {0: 0}
    done(view, Pick("in"))
    assert places(view) == {2: 0}
    done(view, Place("c1"))
    assert picks(view) == {2: 0}, "with one hand, glass for a chamber that is full stays in the loader"


def test_two_hands_may_swap() -> None:
    view = board(line(num_hands=2))
    done(view, Pick("in"))
    done(view, Place("c1"))
    assert set(picks(view)) == {0, 2}
    done(view, Pick("in"))
    assert picks(view) == {2: 1}, "the other hand takes out what is in the chamber, and nothing else"
    done(view, Pick("c1", 1))
    assert places(view) == {1: 1, 2: 0}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31))
def test_whatever_is_chosen_all_glass_leaves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_seen = 0

    def anything(question: Question) -> int:
        nonlocal num_seen
        num_seen += 1
        assert question.features["stations"].shape[0] == MAX_STATIONS
        assert all(np.isfinite(array).all() for array in question.features.values())
        return int(rng.choice(np.flatnonzero(question.legal)))

    world = drawn_world(learning_cell(seed), 6, seed, noise=0.3, interval_s=float(rng.choice([0.0, 20.0])))
    policy = GlassFlowRobots()
    policy.choose = anything  # type: ignore[method-assign]
    report = simulate(world, policy)
    assert len(world.finished_s) == 6
    assert not report.num_refused
    assert num_seen


def test_numpy_and_torch_agree() -> None:
    weights = load(SHIPPED, first_weights(np.random.default_rng(0)))
    asking = start(5)
    question = next(asking)
    for _ in range(40):
        question = asking.send(int(np.argmax(question.legal)))
    batch = {name: array[None] for name, array in question.features.items()}
    scores, value = forward(NUMPY, weights, batch)
    theirs, their_value = forward(TORCH, to_torch(weights), batch)
    assert scores.shape == (1, NUM_CHOICES)
    np.testing.assert_allclose(scores, theirs.detach().numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(value, their_value.detach().numpy(), rtol=1e-4, atol=1e-4)


def test_scores_do_not_depend_on_the_order_of_stations() -> None:
    weights = load(SHIPPED)
    asking = start(5)
    question = next(asking)
    order = np.random.default_rng(0).permutation(MAX_STATIONS)
    mixed = {
        "stations": question.features["stations"][order],
        "choices": np.concatenate([question.features["choices"][part + order] for part in (0, MAX_STATIONS)]),
        "whole": question.features["whole"],
    }
    plain, _ = forward(NUMPY, weights, {name: array[None] for name, array in question.features.items()})
    other, _ = forward(NUMPY, weights, {name: array[None] for name, array in mixed.items()})
    picked = plain[0, 1 : 1 + MAX_STATIONS]
    np.testing.assert_allclose(picked[order], other[0, 1 : 1 + MAX_STATIONS], rtol=1e-4, atol=1e-5)
    assert plain[0, WAIT] == pytest.approx(other[0, WAIT], rel=1e-4)


def test_the_shipped_network_is_faster_than_first_come_first_served() -> None:
    from headway.policies.shop.glass_rule import GlassRule

    cell, rates = drawn_cell(np.random.default_rng(2), num_hands=2, region="transport"), []
    for policy in (GlassRule(rule="fifo"), GlassFlowRobots()):
        world = drawn_world(cell, 32, 0)
        simulate(world, policy)
        rates.append(world.numbers()["cycle_s"] / cycle_bound_s(world.view.layout))
    assert 1.0 <= rates[1] < rates[0]


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    view = board(line(num_hands=2))
    event = Arrived(at_s=0.0, work=Glass(id="g9", kind="glass", arrival_s=0.0))
    done(view, Pick("in"))
    done(view, Place("c1"))
    with pytest.raises(ConfigError, match="must be a file"):
        list(GlassFlowRobots(weights=str(tmp_path / "none.npz")).decide(event, view))
    (tmp_path / "bad.npz").write_text("no")
    with pytest.raises(ConfigError, match="Train it again"):
        list(GlassFlowRobots(weights=str(tmp_path / "bad.npz")).decide(event, view))


def test_a_copy_decides_the_same() -> None:
    view = board(line(num_stages=2, num_hands=2))
    policy = GlassFlowRobots()
    done(view, Pick("in"))
    done(view, Place("c1"))
    event = Arrived(at_s=0.0, work=Glass(id="g9", kind="glass", arrival_s=0.0))
    assert answered(policy.ask(event, view), policy.choose) == pickle.loads(pickle.dumps(policy)).decide(event, view)


def test_a_cell_too_large_for_the_network_is_said_so() -> None:
    view = board(line(num_stages=11))
    done(view, Pick("in"))
    done(view, Place("c1"))
    done(view, Pick("c1"))
    done(view, Place("c2"))
    event = Arrived(at_s=0.0, work=Glass(id="g9", kind="glass", arrival_s=0.0))
    with pytest.raises(ConfigError, match="<= 12 stations, got 13"):
        list(GlassFlowRobots().decide(event, view))


def test_resources_are_the_robot_and_its_stations() -> None:
    view = board(line())
    assert view.resources["robot"] == Resource(id="robot", kind="robot", capacity={"hands": 1.0})
    assert set(view.resources) == {"robot", "in", "out", "c1"}
