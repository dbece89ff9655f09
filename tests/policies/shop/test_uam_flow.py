"""The fleet as a flow: it sees what greed does not."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Arrived
from headway.policies.shop.uam_board import FleetBoard
from headway.policies.shop.uam_flow import UamFlow
from headway.policies.shop.uam_nouns import City, Fly, Model, Shift, Stay, Vertiport
from headway.policies.shop.uam_rule import UamRule
from headway.sim.shop.uam_small import drawn_city, drawn_day


def board(demand_bc: float) -> FleetBoard:
    """An aircraft at a, where nobody waits; later there may be demand from b to c."""
    ports = tuple(Vertiport(id=name, x_miles=12.0 * nth, y_miles=0.0) for nth, name in enumerate("abc"))
    demand = np.zeros((24, 3, 3))
    demand[:, 1, 2] = demand_bc
    city = City(vertiports=ports, model=Model(), demand=demand, fares=np.full((24, 3, 3), 80.0))
    made = FleetBoard(city, 1)
    made.add(Shift(id="one", kind="shift", arrival_s=0.0, deadline_s=7200.0, at="a"))
    return made


@pytest.mark.parametrize(("demand_bc", "wanted"), [(0.0, Stay("one")), (4.0, Fly("one", "b"))])
def test_it_flies_empty_to_where_demand_will_be(demand_bc: float, wanted: object) -> None:
    view, policy = board(demand_bc), UamFlow()
    event = Arrived(at_s=0.0, work=Shift(id="one", kind="shift", arrival_s=0.0, at="a"))
    assert list(policy.decide(event, view)) == [wanted]


def test_it_earns_more_than_greed() -> None:
    city = drawn_city(1, num_vertiports=5, hours=3.0, passengers_per_h=150.0)
    profit = {}
    for policy in (UamRule(), UamFlow()):
        world = drawn_day(city, 12, 0)
        assert not simulate(world, policy).num_refused
        profit[type(policy)] = world.view.profit
    assert profit[UamFlow] > profit[UamRule]


@pytest.mark.parametrize("name", ["horizon_s", "slot_s"])
def test_bad_parameters(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be > 0, got 0"):
        UamFlow(**{name: 0.0})
