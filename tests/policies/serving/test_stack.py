"""Seats put together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from headway.core import catalogue
from headway.core.actions import Action, Move, Preempt, Reject, Start, Wake
from headway.core.drivers import simulate
from headway.core.errors import HeadwayError, UnknownName
from headway.core.events import Event, Finished, Refused, Woke
from headway.core.nouns import Seconds
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import RequestArrived, Step
from headway.policies.serving.orca import Orca
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import RETRY_S, AdmitAll, LeastLoaded, Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.policies.serving.wrap import as_policy
from headway.sim.serving.outages import Outage
from headway.sim.serving.small import small_world
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from policies.serving.making import request


class Doorman:
    """Admits nobody whose name begins with x."""

    def reset(self, rng: np.random.Generator) -> None:
        self.first_draw = int(rng.integers(1 << 30))

    def refusal(self, state: RequestState, view: ServingView) -> str | None:
        return "not you" if state.id.startswith("x") else None


class Nervous:
    """A batch seat that preempts whoever runs and computes nothing."""

    def reset(self, rng: np.random.Generator) -> None:
        self.first_draw = int(rng.integers(1 << 30))

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        for state in instance.running.values():
            draft.preempt(state)
        return None


def board(**num_blocks: int) -> ServingBoard:
    return ServingBoard([InstanceState(name, BlockPool(size), num_layers=2) for name, size in num_blocks.items()])


def arrive(stack: Stack, view: ServingBoard, id: str, prompt: int = 20, most: int = 5) -> list[Action]:
    """Let a request arrive and carry out what the stack says to it."""
    work = request(id, prompt, most)
    view.add(work)
    return carry_out(view, list(stack.decide(RequestArrived(at_s=view.now_s, work=work), view)))


def carry_out(view: ServingBoard, actions: list[Action]) -> list[Action]:
    for action in actions:
        if not isinstance(action, Wake):
            assert view.apply(action) is None, action
    return actions


def test_an_arrival_is_routed_and_the_step_is_formed_with_all_that_arrived() -> None:
    view, stack = board(gpu=64), Stack(batch=SarathiServe())
    assert arrive(stack, view, "a") == [Move("a", "gpu"), Wake(0.0, "form")]
    assert arrive(stack, view, "b") == [Move("b", "gpu"), Wake(0.0, "form")]
    first, second, step = carry_out(view, list(stack.decide(Woke(at_s=0.0, tag="form"), view)))
    assert isinstance(first, Start)
    assert isinstance(second, Start)
    assert isinstance(step, Step)
    assert [piece.request for piece in step.pieces] == ["a", "b"]


def test_no_step_is_asked_for_while_one_is_under_way() -> None:
    view, stack = board(gpu=64), Stack(batch=SarathiServe())
    arrive(stack, view, "a")
    carry_out(view, list(stack.decide(Woke(at_s=0.0), view)))
    assert arrive(stack, view, "b") == [Move("b", "gpu")]
    assert list(stack.decide(Woke(at_s=0.0), view)) == []


def test_the_least_loaded_instance_that_could_hold_a_request_gets_it() -> None:
    view, stack = board(one=64, two=64, tiny=2), Stack(batch=SarathiServe())
    moves = [arrive(stack, view, name, prompt=100)[0] for name in "abcd"]
    assert moves == [Move("a", "one"), Move("b", "two"), Move("c", "one"), Move("d", "two")]
    assert arrive(stack, view, "e", prompt=4)[0] == Move("e", "tiny")


def test_what_no_instance_could_ever_hold_is_turned_away() -> None:
    view, stack = board(gpu=4, tiny=2), Stack(batch=SarathiServe())
    (reject,) = arrive(stack, view, "a", prompt=60, most=5)
    assert reject == Reject("a", "it may come to 65 tokens, and the largest KV memory holds 64")
    assert not view.requests


def test_the_admit_seat_has_the_first_word() -> None:
    view, stack = board(gpu=64), Stack(batch=SarathiServe(), admit=Doorman())
    assert arrive(stack, view, "x1") == [Reject("x1", "not you")]
    assert arrive(stack, view, "a")[0] == Move("a", "gpu")


def test_after_a_refusal_it_tries_again_a_little_later_and_routes_who_was_left() -> None:
    view, stack = board(gpu=64), Stack(batch=SarathiServe())
    view.add(request("a"))
    assert list(stack.decide(Refused(at_s=0.0, action="Move", id="a", why="mood"), view)) == [Wake(RETRY_S, "retry")]
    view.now_s = RETRY_S
    assert list(stack.decide(Woke(at_s=RETRY_S, tag="other"), view)) == []
    answer = carry_out(view, list(stack.decide(Woke(at_s=RETRY_S, tag="retry"), view)))
    assert answer == [Move("a", "gpu"), Wake(RETRY_S, "form")]


def test_a_decision_that_only_preempts_is_followed_by_another_turn() -> None:
    view, stack = board(gpu=64), Stack(batch=Nervous())
    arrive(stack, view, "a")
    view.apply(Start("a", {"gpu": {}}))
    assert list(stack.decide(Woke(at_s=0.0), view)) == [Preempt("a"), Wake(RETRY_S, "retry")]


def test_news_of_strangers_changes_nothing() -> None:
    view, stack = board(gpu=64), Stack(batch=SarathiServe())
    assert list(stack.decide(Finished(at_s=0.0, id="nobody"), view)) == []
    assert list(stack.decide(RequestArrived(at_s=0.0, work=request("gone")), view)) == []


def test_seats_have_random_streams_of_their_own_from_one_seed() -> None:
    def draws(seed: int) -> tuple[int, int]:
        batch, admit = Nervous(), Doorman()
        Stack(batch=batch, admit=admit).reset(np.random.default_rng(seed))
        return batch.first_draw, admit.first_draw

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert len(set(draws(1))) == 2


def test_a_single_seat_becomes_a_policy() -> None:
    seat, doorman = Orca(), Doorman()
    policy = as_policy("batch", seat, "serving/orca")
    assert (policy.batch, policy.name) == (seat, "serving/orca")
    assert isinstance(policy.route, LeastLoaded)
    assert isinstance(policy.admit, AdmitAll)
    other = as_policy("admit", doorman)
    assert (other.admit, other.name) == (doorman, "SarathiServe")
    with pytest.raises(UnknownName, match=r"serving: seat: 'bach' is not known\. Nearest: batch"):
        as_policy("bach", seat)


def test_after_an_outage_everybody_sees_where_those_before_went() -> None:
    """Routed in one decision, they would all go to the instance that was the emptiest before."""
    requests = [request(f"r{number}", prompt=32, most=40) for number in range(12)]
    places = [InstanceState(name, BlockPool(64), num_layers=2) for name in ("a", "b", "c")]
    outage = Outage(instance="a", at_s=0.05, lasts_s=60.0)
    world = ServingWorld([TrueRequest(request=item, output_tokens=40) for item in requests], places, outages=[outage])
    policy, trace = Stack(batch=SarathiServe()), MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    moves = [record for record in trace.records if isinstance(record, Move)]
    assert len(moves) == 16  # four were at the instance that failed
    assert sorted(move.to for move in moves[12:]) == ["b", "b", "c", "c"]


class Backwards:
    """Starts the last to come first, and lets the first to run give way."""

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def queue(self, instance: InstanceState, now_s: Seconds) -> list[RequestState]:
        return list(reversed(instance.waiting.values()))

    def victim(self, instance: InstanceState, running: Sequence[RequestState], now_s: Seconds) -> RequestState:
        return running[0]

    def make_room(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> None:
        """Nothing is pinned."""


@pytest.mark.parametrize("name", ["serving/orca", "serving/vllm", "serving/vllm-v1", "serving/sarathi"])
def test_every_batch_seat_starts_requests_in_the_order_of_the_order_seat(name: str) -> None:
    stack, view = Stack(batch=catalogue.build(name).batch, order=Backwards()), board(gpu=64)
    stack.reset(np.random.default_rng(0))
    for id_ in "abc":
        arrive(stack, view, id_, prompt=20)
    actions = list(stack.decide(Woke(at_s=0.0), view))
    assert [action.id for action in actions if isinstance(action, Start)] == ["c", "b", "a"]


class Once(Backwards):
    """An order seat whose answer can be gone through once, and may be empty."""

    def __init__(self, most: int) -> None:
        self.most = most

    def queue(self, instance: InstanceState, now_s: float) -> Iterator[RequestState]:
        yield from list(instance.waiting.values())[: self.most]


@pytest.mark.parametrize("most", [0, 9])
@pytest.mark.parametrize("name", [row.id for row in catalogue.rows("serving") if "batch" in row.seat.split("+")])
def test_a_batch_seat_may_look_at_the_queue_more_than_once_and_find_nobody(name: str, most: int) -> None:
    stack, view = Stack(batch=catalogue.build(name).batch, order=Once(most)), board(gpu=64)
    stack.reset(np.random.default_rng(0))
    arrive(stack, view, "a", prompt=20)
    actions = list(stack.decide(Woke(at_s=0.0), view))
    assert any(isinstance(action, Start) for action in actions) == (most > 0)


def test_the_evict_seat_says_who_gives_way() -> None:
    stack, view = Stack(batch=SarathiServe(watermark_frac=0.0), evict=Backwards()), board(gpu=4)
    stack.reset(np.random.default_rng(0))
    for id_ in "ab":
        arrive(stack, view, id_, prompt=31, most=20)
    for action in stack.decide(Woke(at_s=0.0), view):
        assert view.apply(action) is None or isinstance(action, Wake)
    for num in range(2):
        (step,) = [found.step for found in view._under_way["gpu"]]
        view.advance(step, float(num))
        view.end(step)
        actions = list(stack.decide(Woke(at_s=float(num)), view))
        for action in actions:
            view.apply(action)
    assert [action.id for action in actions if isinstance(action, Preempt)] == ["a"]


class Steering:
    """A seat that steers, and knows its neighbours and the future."""

    def reset(self, rng: np.random.Generator) -> None:
        self.heard: list[str] = []

    def join(self, stack: Stack) -> None:
        self.neighbours = stack

    def foretell(self, ask: Callable[[str], int]) -> None:
        self.ask = ask

    def steer(self, event: Event, view: ServingView) -> list[Action]:
        self.heard.append(type(event).__name__)
        if isinstance(event, RequestArrived):
            self.told = self.ask(event.work.id)
        return []


def test_who_steers_hears_every_event_meets_its_neighbours_and_is_told_the_truth_in_advance() -> None:
    seat = Steering()
    stack = Stack(batch=SarathiServe(), migrate=seat, scale=seat)
    true = TrueRequest(request=request("a", 20, 5), output_tokens=3)
    simulate(ServingWorld([true], [InstanceState("gpu", BlockPool(8), num_layers=2)]), stack)
    assert seat.neighbours is stack
    assert seat.told == 3
    assert seat.heard == ["RequestArrived", "Woke", "StepDone", "RequestFinished", "StepDone"]


def test_seats_of_several_mechanisms_are_composed_from_plain_data() -> None:
    table = {"batch": {"id": "serving/vllm", "max_seqs": 8}, "route": "serving/prefix-route"}
    policy = catalogue.build("serving/stack", table)
    assert policy.stack.batch.max_seqs == 8
    assert type(policy.stack.route).__name__ == "PrefixRoute"
    world, _ = small_world(0)
    assert simulate(world, policy).num_refused == 0
    assert world.num_left == 0


def test_an_empty_seat_is_taken_by_its_default() -> None:
    policy = catalogue.build("serving/stack", {"batch": "", "order": ""})
    assert isinstance(policy.stack.batch, SarathiServe)
    assert policy.stack.order is None


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"route": "serving/vllm"}, "serving/vllm takes the seat batch. There are for route: serving/"),
        ({"batch": "serving/vllm", "evict": "serving/vllm"}, "serving/vllm takes the seat batch. There are for evict"),
        ({"power": "serving/sarathi"}, "serving/sarathi takes the seat batch. There are for power"),
        ({"batch": {"max_seqs": 8}}, "must have an id"),
        ({"batch": {"id": "serving/vllm", "max_seq": 8}}, "max_seqs"),
        ({"batch": "serving/vlm"}, "Nearest: serving/vllm"),
        ({"brake": "serving/vllm"}, "brake"),
    ],
)
def test_wrong_compositions_are_told_at_once(table: dict[str, Any], why: str) -> None:
    with pytest.raises(HeadwayError, match=re.escape(why)):
        catalogue.build("serving/stack", table)
