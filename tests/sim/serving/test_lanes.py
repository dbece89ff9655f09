"""Steps side by side in virtual time: who gets how much of the compute, and what that does to the books."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Action, Set
from headway.core.drivers import simulate
from headway.core.events import Changed, Event, Failed
from headway.core.session import Session
from headway.core.trace import MemoryTrace, Record
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, RequestFinished, Step, StepDone
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.semi_pd import SemiPd
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.sim.serving.outages import Outage
from headway.sim.serving.price import BatchShape
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.world import ServingWorld
from sim.serving.test_world import Scripted, start, true, world

TWO = Set("num_lanes", 2, of="gpu")


def lane(*pieces: Piece, share: float = 1.0, repeat: int = 1) -> Step:
    return Step(instance="gpu", pieces=pieces, share=share, repeat=repeat)


def ends(policy: Scripted) -> list[float]:
    return [event.at_s for event in policy.heard if isinstance(event, StepDone)]


def play(*answers: list[Action], at_s: tuple[float, ...] = (0.0, 0.5), **lengths: int) -> Scripted:
    policy = Scripted(*answers)
    simulate(world(*(true(name, at, **lengths) for name, at in zip("abc", at_s, strict=False))), policy)
    return policy


def test_steps_that_ask_for_more_than_the_whole_share_it() -> None:
    first, second = [TWO, *start("a"), lane(Piece("a", 20))], [*start("b"), lane(Piece("b", 20))]
    policy = play(first, second, output=1)
    # Alone until 0.5; then half as fast as alone, until the first is done at 1.5; then the second goes on alone.
    assert ends(policy) == pytest.approx([1.5, 2.0])


def test_shares_that_fit_are_had_whoever_else_works() -> None:
    first = [TWO, *start("a"), lane(Piece("a", 20), share=0.5)]
    policy = play(first, [*start("b"), lane(Piece("b", 20), share=0.25)], output=1)
    assert ends(policy) == pytest.approx([2.0, 4.5])


class Watching(Scripted):
    """Notes with every event how many decode, and whether a step of all of them is under way."""

    def reset(self, rng: np.random.Generator) -> None:
        super().reset(rng)
        self.seen: list[tuple[float, int, bool]] = []

    def decide(self, event: Event, view: ServingView) -> Iterator[Action]:
        instance = view.instances["gpu"]
        self.seen.append((event.at_s, len(instance.decodes), instance.decodes_held))
        return super().decide(event, view)


def test_who_has_its_first_token_joins_the_decodes_after_their_step() -> None:
    decode = [lane(Piece("a", 1), repeat=50)]
    first = [TWO, *start("a"), lane(Piece("a", 20))]
    policy = Watching(first, decode, [*start("b"), lane(Piece("b", 20))], decode)
    simulate(world(true("a", output=20), true("b", 1.5, output=20)), policy)
    # From 1.5 on each has half of the compute. The arrival cuts the repeats of a at 2.5; the end of b's prompt at 3.5
    # cuts those that were begun then, the first of which is half done and goes on alone.
    assert policy.seen == [
        (0.0, 0, False), (1.0, 1, False), (1.5, 1, True), (2.5, 1, False), (3.5, 1, True), (4.0, 2, False)
    ]  # fmt: skip


def test_another_step_cannot_take_what_a_step_under_way_computes() -> None:
    first = [TWO, *start("a"), lane(Piece("a", 20))]
    again = [lane(Piece("a", 1)), lane(Piece("a", 1)), *start("b"), lane(Piece("b", 20)), lane(Piece("b", 1))]
    played = world(true("a", output=2), true("b", 0.5, output=1))
    policy = Scripted(first, [], again)
    report = simulate(played, policy)
    assert report.refused == {"a request of it is in a step under way": 1, "a step is under way": 1}


def test_lanes_are_opened_on_an_idle_instance_only() -> None:
    policy = play([*start("a"), lane(Piece("a", 20)), TWO, Set("num_lanes", 1.5, of="gpu"), Set("num_lanes", 2)])
    assert len(policy.heard) > 3
    report = simulate(world(true("a")), Scripted([Set("num_lanes", 0, of="gpu"), TWO, TWO]))
    assert report.refused == {"num_lanes must be a whole number from 1 to 8, got 0": 1}


@dataclass
class Reader:
    """A price of one second, all of it spent reading."""

    reads: float

    def step_s(self, shape: BatchShape) -> float:
        return 1.0

    def decode_line(self, num_decodes: int) -> tuple[float, float]:
        return 1.0, 0.0

    def reads_frac(self, shape: BatchShape) -> float:
        return self.reads


@pytest.mark.parametrize(("reads", "both_s"), [(1.0, 2.0), (0.75, 1.375), (0.5, 1.0)])
def test_steps_that_read_more_than_the_memory_delivers_slow_each_other_down(reads: float, both_s: float) -> None:
    instance = InstanceState("gpu", BlockPool(64), num_layers=4)
    played = ServingWorld([true("a", output=1), true("b", output=1)], [instance], Reader(reads))
    first = [TWO, *start("a"), lane(Piece("a", 20))]
    policy = Scripted(first, [*start("b"), lane(Piece("b", 20))])
    simulate(played, policy)
    assert ends(policy) == pytest.approx([both_s, both_s])
    assert played.busy_s["gpu"] == pytest.approx(both_s)


class Meter:
    def __init__(self) -> None:
        self.total_s = 0.0

    def spent(self, instance: str, shape: BatchShape, took_s: float) -> None:
        assert shape.share == 1.0
        self.total_s += took_s


def converse(policy: Stack, seed: int, num_blocks: int, outages: tuple[Outage, ...] = ()) -> tuple[list[Record], float]:
    instance, meter, trace = InstanceState("gpu", BlockPool(num_blocks), num_layers=4), Meter(), MemoryTrace()
    played = ServingWorld(RandomRequests(num_requests=40).draw(seed), [instance], meter=meter, outages=outages)
    simulate(played, policy, session=Session(policy, played.view, trace=trace))
    assert instance.kv.num_free == instance.kv.num_blocks
    assert not instance.flying
    assert not instance.num_under_way
    if not outages:
        steps_s = played.busy_s["gpu"]
        assert meter.total_s <= steps_s + 1e-9 or instance.num_lanes == 1
    return list(trace.records), meter.total_s


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 20), num_blocks=st.sampled_from([45, 90, 400]), shares=st.sampled_from([1.0, 0.5, 0.3]))
def test_everybody_is_served_once(seed: int, num_blocks: int, shares: float) -> None:
    policy = Stack(batch=SemiPd(prefill_share=shares, decode_share=1.3 - shares if shares < 1 else 1.0, window=20))
    outages = (Outage(instance="gpu", at_s=0.3, lasts_s=0.2),) if seed % 2 else ()
    records, _ = converse(policy, seed, num_blocks, outages)
    ended = [record.id for record in records if isinstance(record, RequestFinished | Failed)]
    assert sorted(ended) == sorted(item.request.id for item in RandomRequests(num_requests=40).draw(seed))
    assert sum(isinstance(record, Changed) for record in records) in (0, 2 if outages else 0)
    if not outages:
        check_disjoint(records)


def check_disjoint(records: list[Record]) -> None:
    """No request is in two steps at once, and there are never more than two."""
    seen, most = 0, 0
    for record in records:
        if isinstance(record, Step):
            seen += 1
        elif isinstance(record, StepDone):
            seen -= 1
        most = max(most, seen)
    assert most == 2
    assert seen == 0


class InLanes(SarathiServe):
    """Opens a second lane, and knows nothing of it."""

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        return [TWO] if view.instances["gpu"].num_lanes == 1 else []


@pytest.mark.parametrize("seed", range(3))
def test_one_step_at_a_time_comes_to_the_same_in_lanes(seed: int) -> None:
    plain, plain_s = converse(Stack(batch=SarathiServe()), seed, 90)
    lanes, lanes_s = converse(Stack(batch=InLanes()), seed, 90)
    told = [
        [(record.id, record.e2e_s) for record in records if isinstance(record, RequestFinished)]
        for records in (plain, lanes)
    ]
    assert [name for name, _ in told[0]] == [name for name, _ in told[1]]
    assert [e2e_s for _, e2e_s in told[0]] == pytest.approx([e2e_s for _, e2e_s in told[1]])
    assert plain_s == pytest.approx(lanes_s)
