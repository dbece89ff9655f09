"""SLOs-Serve: who gets a place, how steps are cut, and what it comes to against plain batching."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Move
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Event, Failed
from headway.core.session import Session
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestFinished, Step
from headway.policies.serving.pace import PRIOR_S, Pace, Shape, pairs
from headway.policies.serving.promises import promised
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.slos_admission import Ask, choose
from headway.policies.serving.slos_budget import Budget, Draft, Load
from headway.policies.serving.slos_budget import given as given_tokens
from headway.policies.serving.slos_lines import Line, line_of
from headway.policies.serving.slos_serve import SlosServe
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.speculation import Speculation
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld

# Who is given a place ------------------------------------------------------------------------------------------------


def rates_of(*per_s: float) -> np.ndarray:
    """Prompt tokens per second by how many more decode, in one tier."""
    return np.array(per_s)


def test_the_most_requests_get_a_place_not_the_first() -> None:
    asks = [Ask(1.0, 90, 0, 1, False), Ask(1.0, 50, 0, 1, False), Ask(1.0, 50, 0, 1, False)]
    assert choose(asks, rates_of(100, 100, 100, 100), 64) == [False, True, True]


def test_who_was_promised_a_place_keeps_it_and_is_not_made_late() -> None:
    kept = Ask(2.0, 150, 0, 1, True)
    assert choose([Ask(1.0, 60, 0, 1, False), kept], rates_of(100, 100, 100), 64) == [False, True]
    assert choose([Ask(1.0, 50, 0, 1, False), kept], rates_of(100, 100, 100), 64) == [True, True]


def test_who_is_late_anyway_does_not_keep_others_out_but_nobody_may_make_it_later() -> None:
    late = Ask(1.0, 500, 0, 1, True)
    assert choose([late, Ask(3.0, 50, 0, 1, False)], rates_of(100, 100, 100), 64) == [True, True]
    assert choose([Ask(0.5, 10, 0, 1, False), late], rates_of(100, 100, 100), 64) == [False, True]


def test_decodes_that_have_begun_slow_later_prompts() -> None:
    asks = [Ask(1.0, 100, 0, 1, False), Ask(2.0, 100, 0, 1, False)]
    assert choose(asks, rates_of(100, 100, 100), 64) == [True, True]
    assert choose(asks, rates_of(100, 50, 50), 64).count(True) == 1


def test_nobody_gets_a_place_whose_decodes_could_not_go_on() -> None:
    asks = [Ask(1.0, 10, 0, 1, False), Ask(1.0, 10, 0, 1, False)]
    assert choose(asks, rates_of(100, 100, -1), 64).count(True) == 1
    assert choose(asks, rates_of(100, -1, -1), 64) == [False, False]


def test_memory_is_promised_once() -> None:
    asks = [Ask(1.0, 1, 0, 40, False), Ask(1.0, 1, 0, 30, False), Ask(1.0, 1, 0, 30, False)]
    assert choose(asks, rates_of(100, 100, 100, 100), 64) == [False, True, True]
    assert choose(asks, rates_of(100, 100, 100, 100), 0) == [False, False, False]


def test_tiers_have_their_own_counts() -> None:
    rates = np.array([[100.0, 90.0], [-1.0, -1.0]])  # a decode of the first tier is too much, one of the second is not
    assert choose([Ask(1.0, 10, 0, 1, False), Ask(1.0, 10, 1, 1, False)], rates, 64) == [False, True]


def by_hand(asks: Sequence[Ask], rates: np.ndarray, free_blocks: int) -> int:
    """Try every choice; returns the most that can have a place."""
    best = 0
    for chosen in itertools.product((False, True), repeat=len(asks)):
        surplus, now_s, num, feasible = 0.0, 0.0, 0, True
        for ask, takes in zip(asks, chosen, strict=True):
            surplus += max(0.0, float(rates[num])) * (ask.due_s - now_s)
            now_s = ask.due_s
            if takes:
                surplus -= ask.prefill_tokens
                num += 1
                feasible = feasible and surplus >= 0
        blocks = sum(ask.blocks for ask, takes in zip(asks, chosen, strict=True) if takes)
        feasible = feasible and blocks <= free_blocks and (rates[num] >= 0 or num == 0)
        best = max(best, num if feasible else 0)
    return best


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 300), st.integers(1, 30)), min_size=1, max_size=6),
    st.lists(st.integers(0, 60), min_size=7, max_size=7),
)
@settings(max_examples=150, deadline=None)
def test_the_program_finds_as_many_as_trying_everything(drawn: list[tuple[int, int, int]], falls: list[int]) -> None:
    asks = [Ask(due / 4, float(tokens), 0, blocks, False) for due, tokens, blocks in sorted(drawn)]
    rates = 120.0 - np.cumsum([0, *falls])[: len(asks) + 1]
    chosen = choose(asks, rates, 64)  # 64 blocks in 64 parts: nothing is rounded
    assert sum(chosen) == by_hand(asks, rates, 64)


# Budgets -------------------------------------------------------------------------------------------------------------


def budget_of(slopes: Sequence[float] = PRIOR_S, **more: float) -> Budget:
    options = {"safety_frac": 0.0, "mean_context": 0.0, "idle_period_s": 0.5, **more}
    return Budget(slopes, **options)


@given(st.floats(1e-3, 1.0), st.integers(0, 1500), st.integers(0, 4000))
@settings(max_examples=100, deadline=None)
def test_a_chunk_is_as_long_as_the_time_allows(rest_s: float, others: int, context: int) -> None:
    budget, pace = budget_of(), Pace()
    instance = InstanceState("gpu", BlockPool(8), num_layers=2)

    def time_s(tokens: int) -> float:
        return pace.step_s(instance, Shape(others, 0, tokens, pairs(tokens, context)))

    tokens = budget.chunk_tokens(rest_s, others, context)
    assert time_s(tokens) - time_s(0) <= rest_s * (1 + 1e-9)
    assert time_s(tokens + 2) - time_s(0) > rest_s


def test_the_time_of_a_step_is_that_of_the_pace() -> None:
    instance = InstanceState("gpu", BlockPool(8), num_layers=2)
    for decodes, context in ((1, 10), (200, 40_000), (900, 1)):
        assert budget_of().time_s(decodes, context) == pytest.approx(Pace().step_s(instance, Shape(decodes, context)))


def test_more_decodes_leave_less_for_prompts_and_too_many_nothing() -> None:
    load = Load((0.05, 0.1), (4.0, 4.0), (2000.0, 2000.0))
    more = [np.array([0.0, 10.0, 5000.0]), np.zeros(3)]
    rates = budget_of().rates(load, more, (500.0, 500.0), Draft([np.zeros(()), np.zeros(())], 0.7))
    assert rates[0] > rates[1] > 0 > rates[2]


def test_a_relaxed_tier_takes_part_in_every_other_step() -> None:
    nobody = [np.zeros(()), np.zeros(())]
    draft = Draft([np.zeros(()), np.zeros(())], 0.7)
    both = budget_of().rates(Load((0.05, 0.1), (1.0, 100.0), (0.0, 0.0)), nobody, (0.0, 0.0), draft)
    half = budget_of().rates(Load((0.05, 0.1), (51.0, 0.0), (0.0, 0.0)), nobody, (0.0, 0.0), draft)
    assert float(both) == pytest.approx(float(half))


def test_drafts_are_planned_where_they_leave_more_for_prompts() -> None:
    load = Load((0.05,), (64.0,), (20_000.0,))
    slopes = (8e-3, 2e-5, 0.0, 0.0, 1e-6, 0.0, 1e-3)  # reading the context of all costs 20 ms
    plan = budget_of(slopes).best(load, 0.8, True)
    assert plan.drafts[0] > 0
    assert plan.period_s == pytest.approx(0.05 * given_tokens(np.asarray(float(plan.drafts[0])), 0.8))
    assert budget_of((*slopes[:6], 0.05)).best(load, 0.8, True).drafts == (0,)
    assert budget_of(slopes).best(load, 0.01, True).drafts == (0,)
    assert budget_of(slopes).best(load, 0.8, False).drafts == (0,)


# Lines ---------------------------------------------------------------------------------------------------------------


def test_tokens_are_due_along_a_line() -> None:
    state = RequestState(Request(id="r", arrival_s=1.0, prompt_tokens=4, max_tokens=8, ttft_s=2.0, tpot_s=0.1))
    line = Line(3.0, 0.1)
    assert line.due_s(state) == 3.0
    assert not line.is_lost(state, 3.0, 8, 0.01)
    assert line.is_lost(state, 3.1, 8, 0.01)
    state.give(2.5)
    assert line.due_s(state) == pytest.approx(2.6)
    assert not line.is_lost(state, 3.0, 8, 0.01)  # seven more tokens of 10 ms each come before 3.2
    assert line.is_lost(state, 3.15, 8, 0.01)


def test_a_bound_on_the_whole_is_spread_over_the_tokens() -> None:
    state = RequestState(Request(id="r", arrival_s=0.0, prompt_tokens=4, max_tokens=11))
    promise = msgspec.structs.replace(state.promise, e2e_s=10.0)
    assert line_of(state, promise, 11) == Line(1.0, 0.9)
    assert line_of(state, state.promise, 11).is_none


# Steps and places, in virtual time -----------------------------------------------------------------------------------

PRICE = LinearPrice(fixed_s=10e-3, prefill_token_s=1e-4, decode_s=1e-4, context_token_s=1e-7)


class Kept:
    """Counts who was in time."""

    def __init__(self, requests: Sequence[TrueRequest]) -> None:
        self.bounds = {true.request.id: true.request for true in requests}
        self.good: set[str] = set()
        self.failed: list[Failed] = []
        self.ends: list[str] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, Failed):
            self.failed.append(event)
        if isinstance(event, RequestFinished):
            self.ends.append(event.id)
            asked = self.bounds[event.id]
            if event.ttft_s <= (asked.ttft_s or np.inf) and event.tpot_s <= (asked.tpot_s or np.inf):
                self.good.add(event.id)


def drawn(num: int, rate_per_s: float, seed: int = 0) -> list[TrueRequest]:
    rng = np.random.default_rng(seed)
    at_s = np.cumsum(rng.exponential(1 / rate_per_s, num))
    return [
        TrueRequest(
            request=Request(
                id=f"r{number}",
                arrival_s=float(at_s[number]),
                prompt_tokens=int(rng.integers(50, 1500)),
                max_tokens=150,
                ttft_s=float(rng.choice([0.5, 1.5])),
                tpot_s=float(rng.choice([0.03, 0.1])),
            ),
            output_tokens=int(rng.integers(20, 150)),
        )
        for number in range(num)
    ]


def played(
    requests: Sequence[TrueRequest], policy: Stack, *, blocks: int = 2000, num: int = 1, acceptance_frac: float = 0.0
) -> Kept:
    instances = [InstanceState(f"gpu{n}", BlockPool(blocks), num_layers=4, pool="gpu") for n in range(num)]
    speculation = Speculation(acceptance_frac=acceptance_frac, draft_s=1e-3) if acceptance_frac else None
    world = ServingWorld(requests, instances, PRICE, speculation=speculation)
    kept = Kept(requests)
    report = simulate(world, policy, session=Session(policy, world.view, instruments=[kept]))
    assert report.num_refused == 0
    assert world.num_left == 0
    return kept


def whole(**options: object) -> Stack:
    seat = SlosServe(**options)  # type: ignore[arg-type]
    return Stack(batch=seat, admit=seat, route=seat, order=seat, evict=seat)


def test_under_overload_more_are_in_time_than_with_chunks_for_all() -> None:
    requests = drawn(150, rate_per_s=14.0)
    ours, theirs = played(requests, whole()), played(requests, Stack(batch=SarathiServe()))
    assert len(ours.ends) == len(theirs.ends) == 150  # who was put off is served all the same
    assert len(ours.good) > 1.5 * len(theirs.good)


def test_at_low_load_nearly_all_are_in_time() -> None:
    assert len(played(drawn(100, rate_per_s=2.0), whole()).good) >= 97


def test_serving_all_by_deadline_is_worse_than_putting_some_off() -> None:
    requests = drawn(150, rate_per_s=14.0)
    assert len(played(requests, whole(surplus="keep")).good) < len(played(requests, whole()).good)


def test_surplus_can_be_turned_away_with_a_time_to_come_back() -> None:
    kept = played(drawn(150, rate_per_s=14.0), whole(surplus="reject"))
    assert kept.failed
    assert len(kept.failed) + len(kept.ends) == 150
    assert len(kept.good) > 0.9 * len(kept.ends)


def test_drafts_help_when_decodes_are_what_costs() -> None:
    requests = [
        msgspec.structs.replace(
            true, request=msgspec.structs.replace(true.request, prompt_tokens=60, ttft_s=1.0, tpot_s=0.012)
        )
        for true in drawn(150, rate_per_s=14.0)
    ]
    with_drafts = played(requests, whole(), acceptance_frac=0.8)
    without = played(requests, whole(speculate=False), acceptance_frac=0.8)
    assert len(with_drafts.good) > len(without.good)


@pytest.mark.parametrize(("max_hops", "chosen"), [(3, "few-tokens"), (0, "few-requests")])
def test_a_request_is_passed_on_to_an_instance_that_can_serve_it_in_time(max_hops: int, chosen: str) -> None:
    names = ("few-requests", "few-tokens")
    board = ServingBoard([InstanceState(name, BlockPool(1000), num_layers=2, pool="gpu") for name in names])
    seat = SlosServe(max_hops=max_hops)
    sent = [("long", "few-requests", 6000), *((f"short{n}", "few-tokens", 20) for n in range(3))]
    for name, instance, tokens in sent:
        state = board.add(
            Request(id=name, arrival_s=0.0, prompt_tokens=tokens, max_tokens=8, ttft_s=0.8, tpot_s=1.0)
        )  # fmt: skip
        board.apply(Move(name, instance))
        seat.planner.keep(state)
    state = board.add(Request(id="new", arrival_s=0.0, prompt_tokens=3000, max_tokens=8, ttft_s=0.6, tpot_s=1.0))
    assert seat.pick(state, board) == chosen


def test_little_memory_is_shared_by_those_with_a_place() -> None:
    kept = played(drawn(80, rate_per_s=8.0), whole(), blocks=220)
    assert len(kept.ends) == 80
    assert len(kept.good) > 20


@pytest.mark.parametrize("seat", ["order", "route", "batch"])
def test_each_part_can_be_taken_alone(seat: str) -> None:
    seats = {"batch": SarathiServe(), seat: SlosServe()}
    kept = played(drawn(40, rate_per_s=6.0), Stack(**seats), num=2)  # type: ignore[arg-type]
    assert len(kept.ends) == 40


def test_without_any_promise_everybody_is_served_from_what_is_left() -> None:
    requests = [
        msgspec.structs.replace(true, request=msgspec.structs.replace(true.request, ttft_s=None, tpot_s=None))
        for true in drawn(30, rate_per_s=8.0)
    ]
    assert len(played(requests, whole()).ends) == 30


def test_the_step_ends_when_the_most_urgent_first_token_is_due() -> None:
    instance = InstanceState("gpu", BlockPool(4000), num_layers=2)
    for name, ttft_s in (("urgent", 0.1), ("patient", 5.0)):
        request = Request(id=name, arrival_s=0.0, prompt_tokens=800, max_tokens=8, ttft_s=ttft_s, tpot_s=1.0)
        instance.waiting[name] = RequestState(request, promised(request, {}))
    step = SlosServe(safety_frac=0.0).form(instance, InstanceDraft(instance), 0.0)
    assert isinstance(step, Step)
    tokens = {piece.request: piece.tokens for piece in step.pieces}
    assert tokens["urgent"] == 800
    took_s = Pace().step_s(instance, Shape(0, 0, step.num_tokens, sum(pairs(n, 0) for n in tokens.values())))
    assert took_s <= 0.1
    assert 0 < tokens["patient"] < 800


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"safety_frac": 1.0}, r"safety_frac must be in \[0, 1\)"),
        ({"max_new": 0}, "max_new must be >= 1"),
        ({"longest_step_s": 0.0}, "longest_step_s must be > 0"),
        ({"surplus": "drop"}, "surplus must be defer, reject or keep"),
        ({"max_hops": -1}, "max_hops must be >= 0"),
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SlosServe(**wrong)  # type: ignore[arg-type]
