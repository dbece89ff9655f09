"""Instances come up and leave as a policy asks."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from headway.core.actions import Action, Move, Set, Wake
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Changed, Event, Failed, Woke
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestFinished
from headway.policies.serving.prefix_route import PrefixRoute
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.sim.serving.outages import Outage
from headway.sim.serving.recipe import FleetSpec
from headway.sim.serving.scenario import ServingScenario
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from headway.traces.generate.lengths import Fixed
from headway.traces.spec import TraceSpec

STARTUP_S = 5.0


class Timetable(Stack):
    """Sets the number of instances of a pool at given times."""

    def __init__(self, *times: tuple[float, int], pool: str = "", route: PrefixRoute | None = None) -> None:
        super().__init__(batch=SarathiServe(), route=route)
        self.times = times
        self.pool = pool
        self.is_told = False
        self.seen: list[tuple[float, int, int, int]] = []

    def decide(self, event: Event, view: ServingView) -> Iterable[Action]:
        pool = view.pools[self.pool]
        seen = (round(event.at_s, 3), pool.num_up, pool.num_starting, pool.num_draining)
        if isinstance(event, Changed | Woke) and (not isinstance(event, Woke) or event.tag.startswith("look")):
            self.seen.append(seen)
        if not self.is_told:
            self.is_told = True
            for at_s, num in self.times:
                yield Wake(at_s, f"to {num} at {at_s}")
                yield Wake(at_s + 1e-3, f"look {at_s}")
        elif isinstance(event, Woke) and event.tag.startswith("to "):
            yield Set("num_instances", float(event.tag.split()[1]), of=self.pool)
        yield from super().decide(event, view)


def requests(num: int = 60, every_s: float = 0.5, output: int = 150) -> list[TrueRequest]:
    return [
        TrueRequest(
            request=Request(id=f"r{n}", arrival_s=n * every_s, prompt_tokens=200, max_tokens=160), output_tokens=output
        )
        for n in range(num)
    ]


def instance(name: str) -> InstanceState:
    return InstanceState(name, BlockPool(200), num_layers=2)


def world(up: str = "a", spare: str = "bc", outages: tuple[Outage, ...] = ()) -> ServingWorld:
    return ServingWorld(
        requests(),
        [instance(name) for name in up],
        spares=[instance(name) for name in spare],
        startup_s={"": STARTUP_S},
        outages=outages,
    )


def play(policy: Stack, played: ServingWorld) -> tuple[MemoryTrace, Session[ServingView]]:
    trace = MemoryTrace(100_000)
    session = Session(policy, played.view, trace=trace)
    simulate(played, policy, session=session)
    return trace, session


def finished(trace: MemoryTrace) -> int:
    return sum(isinstance(record, RequestFinished) for record in trace.records)


def changes(trace: MemoryTrace) -> list[tuple[float, str, bool]]:
    return [(round(r.at_s, 3), r.resource.id, r.up) for r in trace.records if isinstance(r, Changed)]


def test_more_instances_come_up_after_their_start() -> None:
    policy, played = Timetable((4.0, 3), (20.0, 1)), world()
    trace, session = play(policy, played)
    assert finished(trace) == 60
    assert not session.refused
    assert policy.seen[0] == (4.001, 1, 2, 0)
    assert changes(trace)[:2] == [(9.0, "b", True), (9.0, "c", True)]
    assert {r.to for r in trace.actions if isinstance(r, Move)} == {"a", "b", "c"}
    left = [change for change in changes(trace) if not change[2]]
    assert len(left) == 2
    assert all(at_s >= 20.0 for at_s, _, _ in left)
    assert played.view.pools[""].num_up == 1


def test_one_that_drains_takes_nothing_and_finishes_what_it_has() -> None:
    policy, played = Timetable((10.25, 1), route=PrefixRoute()), world(up="ab", spare="")
    trace, session = play(policy, played)
    assert finished(trace) == 60
    assert not session.refused
    assert not any(isinstance(r, Failed) for r in trace.records)
    ((gone_s, gone, _),) = changes(trace)
    late = [r.to for r in trace.actions if isinstance(r, Move)][21:]
    assert set(late) == {"a", "b"} - {gone}
    assert gone_s >= 10.25


def test_only_the_time_in_use_counts() -> None:
    played = world()
    play(Timetable((4.0, 2), (20.0, 1)), played)
    now_s = played.view.now_s
    on_s = {name: played.fleet.on_s(name, now_s) for name in "abc"}
    assert on_s["c"] == 0
    assert sorted(on_s.values())[2] == pytest.approx(now_s)
    assert 16.0 <= min(on_s["a"], on_s["b"]) < 18.0


def test_requests_wait_while_nobody_is_up() -> None:
    policy, played = Timetable((3.25, 0), (10.0, 1)), world(spare="")
    trace, _ = play(policy, played)
    assert finished(trace) == 60
    (left, back) = changes(trace)
    assert not left[2]
    assert back == (15.0, "a", True)


def test_a_start_is_called_off_before_anybody_has_to_drain() -> None:
    policy, played = Timetable((4.0, 3), (6.0, 2)), world()
    trace, _ = play(policy, played)
    assert (6.001, 1, 1, 0) in policy.seen
    assert changes(trace) == [(9.0, "b", True)]


def test_one_that_drains_goes_on_when_it_is_wanted_again() -> None:
    policy, played = Timetable((10.0, 1), (10.01, 2)), world(up="ab", spare="")
    trace, _ = play(policy, played)
    assert finished(trace) == 60
    assert [up for _, _, up in changes(trace)] == [True]
    assert (10.011, 2, 0, 0) in policy.seen


def test_a_failed_instance_is_the_first_that_is_not_wanted() -> None:
    policy = Timetable((5.0, 1))
    played = world(up="ab", spare="", outages=(Outage(instance="a", at_s=3.0, lasts_s=10.0),))
    trace, _ = play(policy, played)
    assert finished(trace) == 60
    assert changes(trace) == [(3.0, "a", False)]


def test_the_world_does_not_wait_for_starts() -> None:
    late = world()
    play(Timetable((29.4, 2)), late)
    assert late.view.now_s < 29.4 + STARTUP_S


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (Set("num_instances", 4), "from 0 to 3, 4 asked for"),
        (Set("num_instances", -1), "from 0 to 3"),
        (Set("num_instances", 1.5), "whole number"),
        (Set("num_instances", float("nan")), "whole number"),
        (Set("num_instances", 1, of="elsewhere"), "no pool 'elsewhere'"),
        (Set("colour", 1), "no knob 'colour'"),
    ],
)
def test_what_cannot_be_set_is_refused(action: Set, why: str) -> None:
    assert why in (world().apply(action) or "")


def test_a_world_that_cannot_scale_refuses() -> None:
    fixed = ServingWorld(requests(), [instance("a")], can=frozenset())
    assert fixed.apply(Set("num_instances", 0)) is not None


def test_a_recipe_pays_for_what_is_in_use() -> None:
    fleet = FleetSpec(accelerator="a10", max_instances=3, startup_s=20.0, usd_per_h=3600.0)
    lengths = Fixed(prompt_tokens=100, output_tokens=20)
    scenario = ServingScenario(trace=TraceSpec(lengths=lengths, num_requests=200, rate_per_s=2.0), fleet=(fleet,))
    assert [(place.id, place.is_spare) for place in scenario.places] == [
        ("main-0", False), ("main-1", True), ("main-2", True),
    ]  # fmt: skip
    alone = scenario.play(Stack(batch=SarathiServe())).report
    assert alone.numbers["num_accelerators"] == 1
    assert alone.numbers["cost_usd"] == pytest.approx(alone.duration_s)
    both = scenario.play(Timetable((0.0, 1), (10.0, 2), pool="main")).report
    in_use_s = both.numbers["instance_h"] * 3600
    assert both.duration_s < in_use_s < 2 * both.duration_s
    assert both.numbers["cost_usd"] == pytest.approx(in_use_s)
    assert both.numbers["num_accelerators"] == pytest.approx(in_use_s / both.duration_s)
    assert alone.numbers["energy_j"] < both.numbers["energy_j"] < 2 * alone.numbers["energy_j"]


def test_a_pool_without_room_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_instances must be >= 2, got 1"):
        FleetSpec(instances=2, max_instances=1)
    with pytest.raises(ConfigError, match="instances must be >= 1, got 0"):
        FleetSpec(instances=0)
    assert FleetSpec(instances=0, max_instances=2).most == 2
