"""Every mechanism on a fleet that comes and goes: instances fail, start and drain under it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from headway.core import catalogue
from headway.core.actions import Action, Set
from headway.core.drivers import simulate
from headway.core.events import Event
from headway.core.session import Session
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestArrived
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.policies.serving.wrap import as_policy
from headway.sim.serving.outages import Outage
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.world import ServingWorld

ROWS = [row for row in catalogue.rows("serving") if row.id != "serving/stack"]
ROUTERS = [row.id for row in ROWS if "route" in row.seat.split("+")]


class Fickle:
    """Wants another number of instances now and then."""

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        if isinstance(event, RequestArrived) and self._rng.random() < 0.2:
            yield Set("num_instances", int(self._rng.integers(1, 5)), of="")


def instance(name: str, num_blocks: int = 80) -> InstanceState:
    return InstanceState(name, BlockPool(num_blocks), num_layers=8)


def conserved(kv: BlockPool) -> bool:
    return kv.num_free + sum(holders > 0 for holders in kv.holders()) == kv.num_blocks


@pytest.mark.parametrize("id_", [row.id for row in ROWS])
@pytest.mark.parametrize("seed", [0, 1])
def test_all_requests_end_however_the_fleet_changes(id_: str, seed: int) -> None:
    policy = catalogue.build(id_)
    assert isinstance(policy, Stack)
    policy.scale = policy.scale or Fickle()
    world = ServingWorld(
        RandomRequests(num_requests=60).draw(seed),
        [instance("a"), instance("b", 60)],
        spares=[instance("c"), instance("d", 60)],
        startup_s={"": 0.2},
        outages=[Outage(instance="a", at_s=0.5, lasts_s=0.7), Outage(instance="b", at_s=0.9, lasts_s=0.4)],
    )
    session = Session(policy, world.view, seed=seed)
    report = simulate(world, policy, session=session)
    assert world.num_left == 0
    assert report.num_refused <= 3, report.refused  # what somebody decides when its place has just gone
    for place in world.view.instances.values():
        assert conserved(place.kv)
        assert place.kv.num_free == place.kv.num_blocks - sum(map(len, place.kv.pins.values()))


@pytest.mark.parametrize("id_", ROUTERS)
def test_nobody_is_sent_to_an_instance_that_drains_or_is_too_small(id_: str) -> None:
    policy = catalogue.build(id_)
    assert isinstance(policy, Stack)
    policy.reset(np.random.default_rng(0))
    # The two that cannot take it are idle, the third has something to do.
    places = [instance("drains"), instance("small", 8), instance("takes")]
    places[0].draining = True
    view = ServingBoard(places, frozenset({"migrate", "copy"}))
    waits = RequestState(Request(id="w", arrival_s=0.0, prompt_tokens=90, max_tokens=8))
    places[2].waiting["w"] = waits
    request = Request(id="r", arrival_s=0.0, prompt_tokens=200, max_tokens=60, session="s")
    state = view.add(request)
    list(policy.decide(RequestArrived(at_s=0.0, work=request), view))
    assert policy.route.pick(state, view) == "takes"


def test_a_request_that_comes_as_its_instance_begins_to_drain_goes_elsewhere_at_once() -> None:
    class Fewer:
        def reset(self, rng: np.random.Generator) -> None:
            """Nothing to forget."""

        def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
            if isinstance(event, RequestArrived) and event.work.id == "r1":
                yield Set("num_instances", 1, of="")

    policy = as_policy("scale", Fewer())
    world = ServingWorld(RandomRequests(num_requests=3).draw(0), [instance("a"), instance("b")])
    report = simulate(world, policy, session=Session(policy, world.view))
    assert (world.num_left, report.num_refused) == (0, 0)
