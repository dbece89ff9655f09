from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from headway.core.actions import Action
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.composed import Composed
from headway.policies.serving.continuum import Continuum
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Pin, Request, RequestFinished, Unpin
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import ServingScenario
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from headway.traces.generate.sessions import AgentSessions, Tool
from headway.traces.spec import TraceSpec

LLAMA = ModelSpec(name="llama-3.1-8b")
PRICE = LinearPrice(fixed_s=0.01, prefill_token_s=1e-3, decode_s=1e-3, context_token_s=0.0)


def call(
    id: str,
    at_s: float,
    session: str = "",
    prompt: int = 40,
    hashes: Sequence[int] = (),
    output: int = 2,
    tool: str = "",
) -> TrueRequest:
    request = Request(
        id=id, arrival_s=at_s, prompt_tokens=prompt, max_tokens=output, session=session, hashes=tuple(hashes)
    )
    return TrueRequest(request=request, output_tokens=output, tool=tool)


def play(
    seat: Continuum | None, requests: Sequence[TrueRequest], num_blocks: int = 8, instances: int = 1
) -> tuple[MemoryTrace, dict[str, RequestFinished]]:
    """Play requests; returns the conversation and how each ended."""
    states = [InstanceState(f"gpu{n}", BlockPool(num_blocks), num_layers=4) for n in range(instances)]
    world = ServingWorld(requests, states, PRICE)
    policy = Stack(batch=SarathiServe(), order=seat, evict=seat, route=seat) if seat else Stack(batch=SarathiServe())
    trace = MemoryTrace(10_000)
    report = simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert not report.num_refused, report.refused
    assert world.num_left == 0
    assert not any(state.kv.pins for state in states) or seat is not None
    ends = [record for record in trace.records if isinstance(record, RequestFinished)]
    return trace, {end.id: end for end in ends}


PRESSED = [
    call("beside", 0.0, prompt=16, output=200),  # something runs all the time
    call("turn1", 0.0, "agent", prompt=100, hashes=(1, 2, 3, 4, 5, 6), tool="grep"),
    call("other", 0.01, prompt=360, output=4),  # 23 of 30 blocks
    call("turn2", 1.0, "agent", prompt=120, hashes=(1, 2, 3, 4, 5, 6, 7)),
]


def test_kept_memory_is_there_when_the_tool_is_done_although_others_wanted_it() -> None:
    _, plain = play(None, PRESSED, num_blocks=30)
    _, kept = play(Continuum(ttl="fixed", fixed_ttl_s=5.0), PRESSED, num_blocks=30)
    assert plain["turn2"].cached_tokens < 96
    assert kept["turn2"].cached_tokens == 96
    assert kept["other"].ttft_s > 1.0 > plain["other"].ttft_s


def test_memory_is_let_go_when_the_time_is_over_and_the_others_go_on() -> None:
    late = [*PRESSED[:3], call("turn2", 30.0, "agent", prompt=60, hashes=(1, 2, 3))]
    trace, ends = play(Continuum(ttl="fixed", fixed_ttl_s=0.5), late, num_blocks=30)
    (pin,) = [action for action in trace.actions if isinstance(action, Pin)]
    assert (pin.id, pin.owner) == ("turn1", "agent")
    (unpin,) = [action for action in trace.actions if isinstance(action, Unpin)]
    assert unpin.owner == "agent"
    assert 0.5 < ends["other"].queue_s < 0.7


def test_nothing_is_kept_after_the_last_turn_or_without_a_time_to_live() -> None:
    last = [PRESSED[0], call("turn1", 0.0, "agent", hashes=(1, 2)), PRESSED[2]]
    for seat, requests in ((Continuum(ttl="fixed"), last), (Continuum(ttl="none"), PRESSED)):
        trace, _ = play(seat, requests, num_blocks=30)
        assert not [action for action in trace.actions if isinstance(action, Pin | Unpin)]


def test_when_nothing_runs_the_newest_sessions_lose_their_memory_until_the_head_fits() -> None:
    requests = [
        call("a1", 0.0, "a", hashes=(1, 2), tool="slow"),
        call("b1", 0.5, "b", hashes=(11, 12), tool="slow"),
        call("c1", 1.0, "c", hashes=(21, 22), tool="slow"),
        call("big", 2.0, prompt=80, output=2),  # six of eight blocks with what it puts out; two are free
        call("a2", 3.0, "a", prompt=60, hashes=(1, 2, 3)),
        call("c2", 3.0, "c", prompt=60, hashes=(21, 22, 23)),
    ]
    trace, ends = play(Continuum(ttl="fixed", fixed_ttl_s=1000.0), requests)
    assert ends["big"].queue_s < 0.1
    assert ends["a2"].cached_tokens == 32
    unpinned = [action.owner for action in trace.actions if isinstance(action, Unpin)]
    assert unpinned[:2] == ["c", "b"]


def test_who_runs_alone_and_lacks_memory_takes_that_of_the_pin_that_would_last_longest() -> None:
    requests = [
        call("a1", 0.0, "a", hashes=(1, 2), tool="slow"),
        call("long", 0.5, prompt=60, output=50),  # seven blocks in the end, and six are free
    ]
    trace, ends = play(Continuum(ttl="fixed", fixed_ttl_s=1000.0), requests)
    assert ends["long"].num_preempted == 0
    assert [action.owner for action in trace.actions if isinstance(action, Unpin)] == ["a"]


def test_order_and_victims_go_by_the_session() -> None:
    seat, instance = Continuum(), InstanceState("gpu", BlockPool(64), num_layers=2)
    seat.reset(np.random.default_rng(0))
    states = {
        name: RequestState(Request(id=name, arrival_s=at_s, prompt_tokens=9, max_tokens=9, session=session))
        for name, at_s, session in (("new", 5.0, "young"), ("old", 6.0, "early"), ("lone", 5.5, ""), ("kept", 7.0, "k"))
    }
    for session, began_s in (("young", 5.0), ("early", 1.0), ("k", 6.5)):
        seat.begin(session, began_s)
    instance.kv.pin("k", instance.kv.allocate(1))
    for state in states.values():
        instance.waiting[state.id] = state
    assert [state.id for state in seat.queue(instance, 8.0)] == ["kept", "old", "new", "lone"]
    assert seat.victim(instance, [states["old"], states["new"]], 8.0).id == "new"


def test_a_session_stays_where_it_began_and_moves_when_that_is_gone() -> None:
    requests = [
        call("a1", 0.0, "a", hashes=(1, 2), tool="t"),
        call("b1", 0.0, "b", prompt=60, output=30, tool="t"),
        call("a2", 0.2, "a", prompt=60, hashes=(1, 2, 3), tool="t"),
        *[call(f"x{n}", 0.19, prompt=10, output=20) for n in range(3)],
    ]
    trace, _ = play(Continuum(), requests, num_blocks=64, instances=2)
    moves = {action.what: action.to for action in trace.actions if type(action).__name__ == "Move"}
    assert moves["a2"] == moves["a1"] != moves["b1"]


def test_a_session_that_has_outgrown_its_instance_goes_to_another() -> None:
    seat = Continuum()
    seat.reset(np.random.default_rng(0))
    view = ServingBoard([InstanceState(name, BlockPool(num), num_layers=2) for name, num in (("s", 8), ("l", 64))])
    small = view.add(Request(id="a1", arrival_s=0.0, prompt_tokens=50, max_tokens=8, session="a"))
    seat.begin("a", 0.0)
    assert seat.pick(small, view) == "s"
    grown = view.add(Request(id="a2", arrival_s=1.0, prompt_tokens=150, max_tokens=8, session="a"))
    assert seat.pick(grown, view) == "l"


class Refuses:
    """A world that refuses every pin."""

    def __init__(self, world: ServingWorld) -> None:
        self._world = world
        self.view = world.view

    def next(self) -> Event | None:
        return self._world.next()

    def apply(self, action: Action) -> str | None:
        return "no" if isinstance(action, Pin | Unpin) else self._world.apply(action)


def test_refused_pins_do_no_harm() -> None:
    world = ServingWorld(PRESSED, [InstanceState("gpu", BlockPool(30), num_layers=4)], PRICE)
    seat = Continuum(ttl="fixed")
    simulate(Refuses(world), Stack(batch=SarathiServe(), order=seat, evict=seat, route=seat))
    assert world.num_left == 0


def test_the_time_to_live_is_learnt_from_the_tool_and_the_delay_of_those_who_lost_their_memory() -> None:
    slow = AgentSessions(
        num_sessions=60, mean_turns=8, turns_cv=0, tools={"quick": Tool(mean_s=0.2, cv=0.3), "long": Tool(mean_s=90.0)}
    )
    seat = Continuum()
    scenario = ServingScenario(trace=TraceSpec(sessions=slow, rate_per_s=1.0), model=LLAMA)
    scenario.play(Stack(batch=SarathiServe(), order=seat, evict=seat, route=seat), seed=0)
    instance = InstanceState("gpu", BlockPool(8), num_layers=4)
    assert 0.1 < seat.ttl_s(instance, "quick", 8000) < 1.0
    assert seat.ttl_s(instance, "long", 8000) < 90.0
    assert seat.ttl_s(instance, "quick", 8000) >= seat.ttl_s(instance, "quick", 500)


def test_whole_sessions_are_done_sooner_than_first_come_first_served() -> None:
    spec = TraceSpec(sessions="swe-bench", num_sessions=60, rate_per_s=0.5)
    scenario = ServingScenario(trace=spec, model=LLAMA, fleet=(FleetSpec(kv_blocks=10_000),))
    policies = {"plain": Stack(batch=SarathiServe())}
    for ttl in ("none", "learned"):
        seat = Continuum(ttl=ttl)  # type: ignore[arg-type]
        policies[ttl] = Stack(batch=SarathiServe(), order=seat, evict=seat, route=seat)
    numbers = {name: scenario.play(policy, seed=0, load=4.0).report.numbers for name, policy in policies.items()}
    assert numbers["learned"]["mean_jct_s"] < numbers["none"]["mean_jct_s"] < numbers["plain"]["mean_jct_s"]
    assert numbers["learned"]["prefix_hit_frac"] > numbers["plain"]["prefix_hit_frac"]


def test_it_takes_its_seats_in_a_stack_of_names() -> None:
    named = {"id": "serving/continuum", "ttl": "fixed"}
    stack = Composed(order=named, evict=named, route=named, batch="serving/vllm-v1").stack
    assert stack.order is stack.evict is stack.route
    assert isinstance(stack.order, Continuum)


@pytest.mark.parametrize("bad", [{"ttl": "best"}, {"fixed_ttl_s": -1.0}, {"max_samples": 0}, {"default_ttl_s": -1.0}])
def test_parameters_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="serving/continuum"):
        Continuum(**bad)  # type: ignore[arg-type]


def test_memory_that_nobody_comes_back_for_is_taken_by_a_draft() -> None:
    seat, instance = Continuum(), InstanceState("gpu", BlockPool(8), num_layers=2)
    seat.reset(np.random.default_rng(0))
    blocks = instance.kv.allocate(3)
    instance.kv.pin("forgotten", blocks)
    instance.kv.release(blocks)
    draft = InstanceDraft(instance)
    seat.make_room(instance, draft, 1.0)
    assert draft.free_blocks == 8
