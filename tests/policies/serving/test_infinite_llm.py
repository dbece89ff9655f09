"""Infinite-LLM: who lends to whom, how much, and when it is not worth it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from headway.core import catalogue
from headway.core.actions import Action, Move, Start, Wake
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Event, Failed, Finished, Woke
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.infinite_llm import ROUND, InfiniteLlm
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.lending_plan import Ledger, context_slope_s, joint_tokens_per_s, lend, split
from headway.policies.serving.nouns import Lend, Piece, Request, RequestArrived, Step
from headway.policies.serving.pace import Pace
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.outages import Outage
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld

CAN = frozenset({"lend", "repeat"})
NOW = Woke(at_s=0.0, tag="form")
NEXT_ROUND = Woke(at_s=1.0, tag=ROUND)


def board(num_blocks: int = 64, num: int = 3, can: frozenset[str] = CAN) -> ServingBoard:
    return ServingBoard([InstanceState(name, BlockPool(num_blocks), num_layers=2) for name in "abcd"[:num]], can)


def do(on: ServingBoard, actions: Sequence[Action]) -> None:
    for action in actions:
        assert isinstance(action, Wake) or on.apply(action) is None, action


def wait(on: ServingBoard, name: str, prompt: int, where: str = "a", most: int = 8) -> RequestState:
    state = on.add(Request(id=name, arrival_s=0.0, prompt_tokens=prompt, max_tokens=most))
    do(on, [Move(name, where)])
    return state


def run(on: ServingBoard, name: str, prompt: int, where: str = "a") -> RequestState:
    """Let a request run with its prompt computed."""
    state = wait(on, name, prompt, where)
    do(on, [Start(name, {where: {"kv_tokens": prompt}})])
    step = Step(instance=where, pieces=(Piece(name, prompt),))
    do(on, [step])
    on.advance(step, 0.0)
    on.end(step)
    return state


def asked(on: ServingBoard, event: Event = NOW, **parameters: object) -> list[Action]:
    seat = InfiniteLlm(**parameters)  # type: ignore[arg-type]
    seat.reset(np.random.default_rng(0))
    return [action for action in seat.steer(event, on) if not isinstance(action, Wake)]


def test_a_prompt_too_large_for_any_instance_is_divided_so_that_all_read_as_much() -> None:
    on = board()
    wait(on, "r", 2400)  # 150 blocks of 16
    (start,) = asked(on)
    assert isinstance(start, Start)
    blocks = {name: -(-int(amounts["kv_tokens"]) // 16) for name, amounts in start.on.items()}
    assert sum(blocks.values()) == 150
    assert max(blocks.values()) - min(blocks.values()) <= 5
    do(on, [start])
    assert on.requests["r"].away_blocks == blocks["b"] + blocks["c"]


def test_who_fits_is_left_to_the_batch_seat() -> None:
    on = board()
    wait(on, "r", 500)
    assert asked(on) == []


def test_what_does_not_fit_for_now_borrows_when_that_gives_more_tokens() -> None:
    """The others are idle: what they hold costs them nothing, and home has one request more."""
    on = board()
    run(on, "long", 800)
    wait(on, "r", 400)
    (start,) = asked(on)
    assert isinstance(start, Start)
    assert start.id == "r"
    assert next(iter(start.on)) == "a"


def test_nothing_is_borrowed_from_those_who_would_lose_more() -> None:
    """Every other instance runs many: reading for another costs all of them time."""
    on = board(num_blocks=1024)
    run(on, "long", 16000)
    wait(on, "r", 8000)
    for where in "bc":
        for number in range(50):
            run(on, f"{where}{number}", 16, where)
    slope = 2e-6  # so dear is reading

    class Dear(Pace):
        def step_s(self, instance: InstanceState, shape: object) -> float:
            return 0.01 + slope * float(shape.context_tokens)  # type: ignore[attr-defined]

    def starts(plan: str) -> list[Action]:
        seat = InfiniteLlm(plan=plan)  # type: ignore[arg-type]
        seat.reset(np.random.default_rng(0))
        seat._pace = Dear()
        return [action for action in seat.steer(NOW, on) if isinstance(action, Start)]

    assert starts("greedy") == []
    assert [start.id for start in starts("overflow") if isinstance(start, Start)] == ["r"]


def test_nobody_borrows_from_an_instance_whose_own_requests_are_stuck() -> None:
    on = board(num=2)
    for where in "ab":
        run(on, f"long-{where}", 800, where)
        wait(on, f"r-{where}", 400, where)
    assert asked(on) == []


def test_a_round_lends_blocks_of_the_longest_request_of_a_debtor() -> None:
    on = board(num_blocks=128, num=2)
    run(on, "long", 1200)
    run(on, "short", 600)
    wait(on, "r", 1900)  # even with the room at b it cannot start yet
    lends = [action for action in asked(on, NEXT_ROUND, use_frac=0.5) if isinstance(action, Lend)]
    assert [(action.what, action.to, action.source) for action in lends][:1] == [("long", "b", "")]
    assert 0 < lends[0].blocks <= 64
    do(on, lends)


def test_without_a_queue_moves_would_be_pure_cost() -> None:
    on = board(num_blocks=128, num=2)
    run(on, "long", 1200)
    assert asked(on, NEXT_ROUND) == []


def test_overflow_plans_nothing() -> None:
    on = board(num_blocks=128, num=2)
    run(on, "long", 1200)
    run(on, "other", 1800, "b")
    wait(on, "r", 1900)
    assert asked(on, NEXT_ROUND, plan="overflow") == []


def test_blocks_leave_before_memory_runs_out_for_decodes() -> None:
    on = board(num=2)
    run(on, "long", 1000)  # 63 of 64 blocks
    (action,) = asked(on, NEXT_ROUND, plan="overflow")
    assert isinstance(action, Lend)
    assert (action.what, action.to) == ("long", "b")


def test_an_instance_short_of_room_sends_blocks_home() -> None:
    on = board(num=2)
    run(on, "guest", 800)
    do(on, [Lend("guest", "b", 40)])
    on.lending.over(on.lending.loans["guest"])
    wait(on, "own", 500, "b")
    actions = asked(on, NEXT_ROUND, use_frac=0.1)
    assert [(a.what, a.to, a.source) for a in actions if isinstance(a, Lend)] == [("guest", "a", "b")]
    do(on, actions)


def test_the_newest_blocks_and_the_next_tokens_place_stay_at_home() -> None:
    on = board(num_blocks=256, num=2)
    state = run(on, "long", 4000)
    wait(on, "r", 4000)
    for action in asked(on, NEXT_ROUND):
        if isinstance(action, Lend):
            assert action.blocks < len(state.blocks)


def test_admission_is_up_to_what_the_instances_hold_together() -> None:
    seat, on = InfiniteLlm(max_holders=2), board(num=4)
    fits, huge = (RequestState(Request(id="r", arrival_s=0.0, prompt_tokens=n, max_tokens=72)) for n in (3000, 3001))
    assert seat.refusal(fits, on) is None
    assert "3072" in str(seat.refusal(huge, on))
    assert "1024" in str(seat.refusal(fits, board(can=frozenset())))


def test_where_the_executor_cannot_lend_it_does_nothing() -> None:
    on = board(can=frozenset())
    wait(on, "r", 2400)
    assert asked(on, NEXT_ROUND) == []


def test_rounds_come_while_there_are_requests() -> None:
    on = board()
    seat = InfiniteLlm(period_s=2.0)
    seat.reset(np.random.default_rng(0))
    state = wait(on, "r", 100)
    arrived = RequestArrived(at_s=0.0, work=state.request)
    assert list(seat.steer(arrived, on)) == [Wake(2.0, ROUND)]
    assert list(seat.steer(arrived, on)) == []
    assert list(seat.steer(NEXT_ROUND, on)) == [Wake(2.0, ROUND)]
    on.finish("r", "cancelled", 1.0)
    assert list(seat.steer(NEXT_ROUND, on)) == []


@pytest.mark.parametrize(
    "parameters", [{"batch_below": 0}, {"use_frac": 0.0}, {"period_s": 0.0}, {"tokens_per_step": 0}, {"max_holders": 0}]
)
def test_parameters_out_of_range_are_errors(parameters: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="serving/infinite-llm"):
        InfiniteLlm(**parameters)  # type: ignore[arg-type]


# The model -----------------------------------------------------------------------------------------------------------


def test_lending_grows_a_batch_while_somebody_waits_and_costs_the_holder() -> None:
    on = board(num_blocks=1024, num=2)
    run(on, "long", 8000)
    run(on, "other", 100, "b")
    pace = Pace()
    before = owner, holder = [Ledger(on.instances[name], on.lending) for name in "ab"]
    after = [ledger.twin() for ledger in before]
    lend(after[0], after[1], 250, 50.0, 4)
    # 500 blocks were free already, for four who need 50 each: nobody more comes for it
    assert after[0].batch == owner.batch
    assert after[1].tokens_per_s(pace) < holder.tokens_per_s(pace)
    after = [ledger.twin() for ledger in before]
    lend(after[0], after[1], 250, 400.0, 4)
    assert after[0].batch == pytest.approx(owner.batch + 250 / 400)
    assert after[0].away_tokens == {"b": 4000}
    assert joint_tokens_per_s(pace, after) != joint_tokens_per_s(pace, before)
    assert context_slope_s(pace, on.instances["a"]) > 0


def test_a_split_that_does_not_fit_is_none() -> None:
    on = board(num=2)
    home, other = (Ledger(on.instances[name], on.lending) for name in "ab")
    assert split(129, home, [other], 1.0, 0, 3) is None
    assert split(128, home, [other], 1.0, 1, 3) is None
    assert split(128, home, [other], 1.0, 0, 3) == {"b": 64}
    assert split(100, home, [other], 0.5, 0, 3) is None


# In a world ----------------------------------------------------------------------------------------------------------


def play(requests: Sequence[TrueRequest], outages: Sequence[Outage] = ()) -> tuple[ServingWorld, MemoryTrace]:
    instances = [InstanceState(name, BlockPool(64), num_layers=2) for name in "abc"]
    world, policy = ServingWorld(requests, instances, outages=outages), catalogue.build("serving/infinite-llm")
    trace = MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    return world, trace


def true(name: str, prompt: int, output: int, at_s: float = 0.0) -> TrueRequest:
    request = Request(id=name, arrival_s=at_s, prompt_tokens=prompt, max_tokens=400)
    return TrueRequest(request=request, output_tokens=output)


def test_requests_larger_than_an_instance_are_served_and_all_memory_comes_back() -> None:
    world, trace = play([true("huge", 2000, 300), *(true(f"r{n}", 300, 40, n * 0.1) for n in range(20))])
    assert {record.id for record in trace.records if isinstance(record, Finished)} == {
        "huge", *(f"r{n}" for n in range(20))
    }  # fmt: skip
    assert all(instance.kv.num_free == 64 for instance in world.view.instances.values())
    assert not world.view.lending


def test_a_holder_that_fails_takes_its_borrowers_progress_and_no_more() -> None:
    outage = Outage(instance="b", at_s=1.0, lasts_s=1.0)
    world, trace = play([true("huge", 2000, 300)], [outage])
    (finished,) = [record for record in trace.records if isinstance(record, Finished)]
    assert not [record for record in trace.records if isinstance(record, Failed)]
    assert finished.num_preempted == 1  # type: ignore[attr-defined]
    assert all(instance.kv.num_free == 64 for instance in world.view.instances.values())


def test_it_takes_its_seats_in_a_stack() -> None:
    policy = catalogue.build("serving/infinite-llm", {"plan": "overflow"})
    assert isinstance(policy, Stack)
    assert isinstance(policy.admit, InfiniteLlm)
    assert id(policy.admit) == id(policy.migrate)
