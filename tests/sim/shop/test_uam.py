"""A fleet's day in virtual time."""

from __future__ import annotations

from collections.abc import Iterable

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Action
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Event, Finished
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.shop.uam_board import AWAY, FleetView
from headway.policies.shop.uam_nouns import City, Fly, Grounded, Model, Ready, RouteChanged, Shift, Vertiport
from headway.policies.shop.uam_rule import UamRule
from headway.sim.shop import gym
from headway.sim.shop.asking_env import AskingEnv
from headway.sim.shop.uam_small import drawn_city, drawn_day, start
from headway.sim.shop.uam_world import Closure, FleetWorld, Hidden

FARE = 100.0


def city(**more: int) -> City:
    ports = (Vertiport(id="a", x_miles=0.0, y_miles=0.0, **more), Vertiport(id="b", x_miles=15.0, y_miles=0.0, **more))
    shape = (12, 2, 2)
    return City(vertiports=ports, model=Model(), demand=np.ones(shape), fares=np.full(shape, FARE), patience_slots=2)


def world(
    num: int = 1, repair_s: float = 0.0, people: int = 0, closures: tuple[Closure, ...] = (), **more: int
) -> FleetWorld:
    place = city(**more)
    passengers = np.zeros((12, 2, 2), np.int64)
    passengers[0, 0, 1] = people
    shifts = [Shift(id=f"c{nth}", kind="shift", arrival_s=0.0, deadline_s=place.end_s, at="a") for nth in range(num)]
    repairs = np.full((num, 4), 0.0)
    repairs[:, 0] = repair_s
    hidden = Hidden(
        passengers=passengers,
        fares=place.fares,
        delays=np.full((num, 4), 1.5),
        repairs_s=repairs,
        closures=closures,
    )
    return FleetWorld(place, shifts, hidden)


class Script:
    """Takes one action after the other, one for each event while there are any; the rest stays."""

    def __init__(self, *actions: Action) -> None:
        self._actions = actions

    def reset(self, rng: np.random.Generator) -> None:
        self._todo = list(self._actions)

    def decide(self, event: Event, view: FleetView) -> Iterable[Action]:
        return [self._todo.pop(0)] if self._todo else []


def played(one: FleetWorld, policy: Script) -> tuple[MemoryTrace, dict[str, int]]:
    trace = MemoryTrace()
    report = simulate(one, policy, session=Session(policy, one.view, trace=trace))
    return trace, report.refused


def test_a_flight_takes_its_time_and_pays_its_fares() -> None:
    one = world(people=6)
    trace, refused = played(one, Script(Fly("c0", "b")))
    (ready,) = (event for event in trace.records if isinstance(event, Ready))
    assert not refused
    assert ready.at_s == pytest.approx(1.5 * 60 + 120 + 360 + 180), "late by half as much again, climb, cruise, turn"
    kwh = 4 + 1.5 * 15
    assert one.view.profit == pytest.approx(4 * FARE - 20 - 3 * 15 - 0.2 * kwh)
    assert one.numbers()["carried_per_flight"] == 4
    assert one.numbers()["served_frac"] == pytest.approx(4 / 6), "the others gave up"
    assert [type(event) for event in trace.records][-1] is Finished


def test_batteries_empty_and_charge() -> None:
    one = world(num=2, num_chargers=1)
    events = [one.next(), one.next()]
    assert len(events) == 2
    assert one.apply(Fly("c0", "b")) is None
    flown = 110 - 4 - 1.5 * 15
    assert one.view.battery_kwh(0) == pytest.approx(flown)
    assert one.view.battery_kwh(1) == pytest.approx(110.0)
    while not isinstance(one.next(), Ready):
        pass
    # it has charged for the three minutes of its turnaround, with 240 kW
    assert one.view.battery_kwh(0) == pytest.approx(min(flown + 180 * 240 / 3600, 110.0))
    assert one.view.batteries_kwh() == pytest.approx([one.view.battery_kwh(0), 110.0])


def test_a_charger_goes_to_the_next_when_an_aircraft_leaves() -> None:
    one = world(num=2, num_chargers=1)
    one.view.add(one.shifts[0])
    one.view.add(one.shifts[1])
    one.view._battery[:] = 50.0
    one.view.now_s = 60.0
    assert one.view.batteries_kwh() == pytest.approx([54.0, 50.0])
    assert one.view.apply(Fly("c0", "b")) is None
    one.view.now_s = 120.0
    assert one.view.battery_kwh(1) == pytest.approx(54.0)


def test_a_repair_takes_longer_than_anybody_knows() -> None:
    one = world(repair_s=900.0)
    trace, _ = played(one, Script(Fly("c0", "b")))
    grounded, ready = (event for event in trace.records if isinstance(event, Grounded | Ready))
    assert isinstance(grounded, Grounded)
    assert ready.at_s - grounded.at_s == pytest.approx(180 + 900)


def test_closed_routes_are_not_flown_and_open_again() -> None:
    closures = ((10.0, 500.0, 0, 1), (300.0, 700.0, 1, 0))
    trace, _ = played(world(closures=closures), Script())
    changes = [(event.at_s, event.is_open) for event in trace.records if isinstance(event, RouteChanged)]
    assert changes == [(10.0, False), (700.0, True)], "closures that overlap are one"
    one = world(closures=closures)
    while not isinstance(one.next(), RouteChanged):
        pass
    assert one.apply(Fly("c0", "b")) == "b is full, too far or closed"
    assert one.apply(Wakeless()) == "a fleet does not know Wakeless"
    while not isinstance(one.next(), RouteChanged):
        pass
    assert one.apply(Fly("c0", "b")) is None


class Wakeless(Action, frozen=True, gc=False):
    """An action of no family."""


def test_pads_are_counted_with_those_on_their_way() -> None:
    one = world(num=3, num_pads=2)
    for _ in range(3):
        one.next()
    assert one.apply(Fly("c0", "b")) is None
    assert one.apply(Fly("c1", "b")) is None
    before = one.view.fingerprint()
    assert one.apply(Fly("c2", "b")) == "b is full, too far or closed"
    assert one.apply(Fly("c2", "a")) == "'a' is no other vertiport"
    assert one.apply(Fly("c1", "a")) == "it does not wait for a decision"
    assert one.view.fingerprint() == before


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31))
def test_books_balance_whatever_is_flown(seed: int) -> None:
    place = drawn_city(seed % 5, num_vertiports=4, hours=2.0, passengers_per_h=80.0, num_pads=4, num_chargers=2)
    one = drawn_day(place, 9, seed)
    report = simulate(one, UamRule(rule="random"), seed=seed)
    view = one.view
    assert not report.num_refused
    assert (view.state == AWAY).all()
    assert (view.inbound == np.bincount(view.at, minlength=4)).all()
    assert (view.inbound <= place.pads).all()
    came = int(one.hidden.passengers.sum())
    assert came == view.num_carried + view.num_lost + int(view.waiting.sum())
    assert (view.batteries_kwh() >= place.model.reserve_frac * place.model.battery_kwh - 1e-6).all()


def test_a_sure_day_comes_as_forecast() -> None:
    one = drawn_day(drawn_city(hours=2.0), 5, 3, is_sure=True)
    assert (one.view.city.demand == one.hidden.passengers).all()
    assert (one.hidden.delays == 1).all()
    assert not one.hidden.repairs_s.any()
    assert not one.hidden.closures


def test_a_city_that_cannot_be() -> None:
    ports = (Vertiport(id="a", x_miles=0.0, y_miles=0.0),)
    with pytest.raises(ConfigError, match="two at least"):
        City(vertiports=ports, model=Model(), demand=np.zeros((1, 1, 1)), fares=np.zeros((1, 1, 1)))


def test_the_environment_keeps_gymnasiums_rules() -> None:
    check_env(AskingEnv(start), skip_render_check=True)
    gym.register()
    env = gymnasium.make("headway/VertiportFleet-v0")
    observation, info = env.reset(seed=1)
    assert observation["ports"].shape[0] == len(info["action_mask"]) == 8
    for _ in range(50):
        _, _, _, _, info = env.step(np.flatnonzero(info["action_mask"])[0])
