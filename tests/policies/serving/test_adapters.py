"""LoRA adapters: where they are, who waits for them, and where AIBrix has them brought."""

from __future__ import annotations

import pytest

from headway.core.actions import Move, Start
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Changed, Failed
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.adapters import Adapters
from headway.policies.serving.aibrix import AIBrix
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import AdapterLoaded, Request, RequestFinished
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.policies.serving.wrap import as_policy
from headway.sim.serving.outages import Outage
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld

LOAD_S = 3.0


def test_the_least_recently_used_makes_room() -> None:
    adapters = Adapters(2)
    for name in "abac":
        assert adapters.why_not(name, ()) is None
        adapters.use(name, ())
    assert list(adapters.here) == ["a", "c"]
    assert adapters.num_loads == 3


def test_what_is_in_use_stays() -> None:
    adapters = Adapters(2)
    adapters.use("a", ())
    adapters.use("b", ("a",))
    assert adapters.why_not("c", ("a", "b")) == "all 2 places for adapters are in use"
    assert adapters.begin("c", ("a", "b")) is not None
    adapters.use("c", ("a",))
    assert list(adapters.here) == ["a", "c"]


def test_what_is_on_its_way_takes_a_place_and_cannot_be_used_yet() -> None:
    adapters = Adapters(2)
    assert adapters.begin("a", ()) is None
    assert "a" in adapters
    assert adapters.why_not("a", ()) == "its adapter is on its way"
    assert adapters.begin("a", ()) == "it is there already, or on its way"
    adapters.end("a")
    assert adapters.why_not("a", ()) is None
    with pytest.raises(ConfigError, match="room must be >= 1"):
        Adapters(0)


def world(asked: str, names: str = "xy", room: int = 2, every_s: float = 0.2, **more: object) -> ServingWorld:
    requests = [
        TrueRequest(
            request=Request(
                id=f"r{n}", arrival_s=every_s * n, prompt_tokens=100, max_tokens=20, adapter="" if name == "-" else name
            ),
            output_tokens=20,
        )
        for n, name in enumerate(asked)
    ]
    instances = [InstanceState(name, BlockPool(200), num_layers=2) for name in names]
    for instance in instances:
        instance.adapters = Adapters(room)
    return ServingWorld(requests, instances, adapter_load_s={"": LOAD_S}, **more)  # type: ignore[arg-type]


def play(policy: Stack, played: ServingWorld) -> MemoryTrace:
    trace = MemoryTrace(100_000)
    report = simulate(played, policy, session=Session(policy, played.view, trace=trace))
    assert not report.num_refused, report.refused
    return trace


def ttft_s(trace: MemoryTrace) -> dict[str, float]:
    return {record.id: record.ttft_s for record in trace.records if isinstance(record, RequestFinished)}


def moves(trace: MemoryTrace) -> list[tuple[str, str]]:
    return [(action.what, action.to) for action in trace.actions if isinstance(action, Move)]


def test_a_request_whose_adapter_is_not_there_waits_for_it_and_so_does_its_step() -> None:
    trace = play(Stack(batch=SarathiServe()), world("a-a", names="x", every_s=0.01))
    felt = ttft_s(trace)
    assert felt["r0"] > LOAD_S
    assert felt["r1"] > LOAD_S - 0.1  # who needs none waits as well: the step of the instance is delayed
    again = play(Stack(batch=SarathiServe()), world("a" * 5, names="x", every_s=5.0))
    assert [at_s > LOAD_S for at_s in ttft_s(again).values()] == [True, False, False, False, False]


def test_one_that_is_brought_in_the_background_delays_nobody_else() -> None:
    trace = play(as_policy("route+place", AIBrix()), world("a-a", names="x", every_s=0.01))
    felt = ttft_s(trace)
    assert moves(trace)[0] == ("a", "x")
    assert LOAD_S < felt["r0"] < LOAD_S + 0.2
    assert felt["r1"] < 0.2
    assert sum(isinstance(record, AdapterLoaded) for record in trace.records) == 1


def test_no_more_adapters_run_at_once_than_there_is_room_for() -> None:
    trace = play(Stack(batch=SarathiServe()), world("abcabc", names="x", room=2, every_s=0.001))
    assert len(ttft_s(trace)) == 6
    running: set[str] = set()
    for record in trace.records:
        if isinstance(record, Start):
            running.add(record.id)
        elif isinstance(record, RequestFinished):
            running.discard(record.id)
        assert len({"abcabc"[int(id_[1:])] for id_ in running}) <= 2


@pytest.mark.parametrize(
    ("placement", "homes"),
    [("least-adapters", {"a": "x", "b": "y", "c": "x"}), ("bin-pack", {"a": "x", "b": "x", "c": "y"})],
)
def test_adapters_are_spread_or_packed(placement: str, homes: dict[str, str]) -> None:
    trace = play(as_policy("route+place", AIBrix(placement=placement)), world("abcabc", every_s=1.0))
    assert {what: to for what, to in moves(trace) if what in homes} == homes
    assert [to for what, to in moves(trace) if what.startswith("r")] == [homes[name] for name in "abcabc"]


def test_what_was_on_its_way_to_an_instance_that_fails_is_loaded_elsewhere() -> None:
    outage = Outage(instance="x", at_s=1.0, lasts_s=60.0)
    policy = as_policy("route+place", AIBrix())
    trace = play(policy, world("aaaa", every_s=2.0, outages=[outage]))
    assert moves(trace)[:3] == [("a", "x"), ("r0", "x"), ("r0", "y")]
    assert {to for _, to in moves(trace)[2:]} == {"y"}
    assert not any(isinstance(record, AdapterLoaded) for record in trace.records)
    assert len(ttft_s(trace)) == 4
    assert not any(isinstance(record, Failed) for record in trace.records)
    assert any(isinstance(record, Changed) for record in trace.records)


@pytest.mark.parametrize("strategy", ["prefix-cache", "slo-least-load-pulling", "random"])
def test_all_are_served_with_many_adapters_and_little_room(strategy: str) -> None:
    trace = play(as_policy("route+place", AIBrix(strategy=strategy)), world("abcdefgh" * 6, room=2, every_s=0.3))
    assert len(ttft_s(trace)) == 48


def test_unknown_adapters_and_instances_without_books_are_refused() -> None:
    played = world("a")
    played.next()
    assert "not waiting" in (played.apply(Move("b", "x")) or "")
    assert played.apply(Move("a", "z")) == "there is no instance 'z'"
    assert played.apply(Move("a", "x")) is None
    assert played.apply(Move("a", "x")) == "it is there already, or on its way"
    played.view.instances["y"].adapters = None
    assert played.apply(Move("a", "y")) == "all adapters are at hand there"
