"""Simple rules for a fleet."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.core.events import Arrived
from headway.policies.shop.uam_board import FleetBoard
from headway.policies.shop.uam_nouns import City, Fly, Model, Shift, Stay, Vertiport
from headway.policies.shop.uam_rule import UamRule


def city(num_pads: int = 2, battery_kwh: float = 110.0) -> City:
    ports = tuple(
        Vertiport(id=name, x_miles=10.0 * nth, y_miles=0.0, num_pads=num_pads) for nth, name in enumerate("abc")
    )
    shape = (12, 3, 3)
    return City(
        vertiports=ports, model=Model(battery_kwh=battery_kwh), demand=np.zeros(shape), fares=np.full(shape, 60.0)
    )


def fleet(*places: str, **more: float) -> FleetBoard:
    board = FleetBoard(city(**more), len(places))  # type: ignore[arg-type]
    for nth, place in enumerate(places):
        board.add(shift(nth, place))
    return board


def shift(nth: int, place: str) -> Shift:
    return Shift(id=f"craft-{nth}", kind="shift", arrival_s=0.0, deadline_s=3600.0, at=place)


def people(board: FleetBoard, **waiting: int) -> None:
    arrivals = np.zeros((3, 3), np.int64)
    for pair, num in waiting.items():
        arrivals["abc".index(pair[0]), "abc".index(pair[1])] = num
    board.next_slot(arrivals, board.city.fares[0])


def decided(board: FleetBoard, policy: UamRule) -> list[object]:
    policy.reset(np.random.default_rng(0))
    return list(policy.decide(Arrived(at_s=0.0, work=shift(0, "a")), board))


def test_greed_flies_where_most_is_paid_beyond_the_cost() -> None:
    board = fleet("a")
    people(board, ab=2, ac=2)
    assert decided(board, UamRule()) == [Fly("craft-0", "b")], "as many passengers, half the way"
    people(board, ac=2)
    assert decided(board, UamRule()) == [Fly("craft-0", "c")], "four pay for the longer way"


def test_greed_stays_where_nothing_pays() -> None:
    board = fleet("a")
    people(board, ac=1)
    assert board.city.cost[0, 2] > 60.0
    assert decided(board, UamRule()) == [Stay("craft-0")]


@pytest.mark.parametrize("rule", ["greedy", "random"])
def test_nobody_flies_to_a_full_vertiport_or_too_far(rule: str) -> None:
    board = fleet("a", "b", "b", battery_kwh=38.0)
    people(board, ab=4, ac=4)
    assert board.legal(0).tolist() == [True, False, False], "b is full, c is too far"
    policy = UamRule(rule=rule)  # type: ignore[arg-type]
    assert decided(board, policy)[0] == Stay("craft-0")


def test_an_unknown_rule() -> None:
    with pytest.raises(ConfigError, match="greedy or random, got 'best'"):
        UamRule(rule="best")  # type: ignore[arg-type]
