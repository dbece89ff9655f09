"""Copies in virtual time: how long they take, and what a move after them still costs."""

from __future__ import annotations

import pytest

from headway.core.actions import Move, Preempt, Start, Wake
from headway.core.drivers import simulate
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Copied, Copy, Piece, RequestMoved, Step, Uncopy
from headway.policies.serving.state import InstanceState
from headway.sim.serving.links import Links
from headway.sim.serving.outages import Outage
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from sim.serving.test_world import SECOND, Scripted, start, step, true

SLOW = Links(token_bytes=10.0, between_bytes_per_s=100.0, latency_s=0.5)
FAST = Links(token_bytes=10.0, between_bytes_per_s=1000.0, latency_s=0.5)


def world(*requests: TrueRequest, links: Links = SLOW, outages: tuple[Outage, ...] = ()) -> ServingWorld:
    instances = [InstanceState(name, BlockPool(64), num_layers=4) for name in ("gpu", "gpu1")]
    return ServingWorld(requests, instances, SECOND, links=links, outages=outages)


def far(tokens: int = 1, repeat: int = 1) -> Step:
    return Step(instance="gpu1", pieces=(Piece("a", tokens),), repeat=repeat)


@pytest.mark.parametrize(
    ("links", "at_s"),
    # The step of the prompt takes until 1. The link needs 2 s from 0.5 on; or it is done with all but a layer before 1.
    [(SLOW, 2.5), (FAST, 1.55)],
)
def test_a_copy_follows_its_prompt_layer_by_layer(links: Links, at_s: float) -> None:
    policy = Scripted([*start("a"), step(Piece("a", 20)), Copy("a", "gpu1")], [], [Move("a", "gpu1")], [far(repeat=2)])
    simulate(world(true("a", output=3), links=links), policy)
    copied, moved = policy.heard[2], policy.heard[3]
    assert isinstance(copied, Copied)
    assert isinstance(moved, RequestMoved)
    assert (copied.at_s, copied.tokens, copied.took_s) == (pytest.approx(at_s), 20, pytest.approx(at_s))
    assert moved.at_s == pytest.approx(at_s + 0.5)  # nothing is missing: the move takes the latency alone
    assert policy.told()[-1] == ("StepDone", pytest.approx(at_s + 2.5))


def test_a_copy_follows_a_prompt_in_chunks() -> None:
    copy = [*start("a"), step(Piece("a", 10)), Copy("a", "gpu1")]
    policy = Scripted(copy, [step(Piece("a", 10))], [])
    simulate(world(true("a", output=3)), policy)
    # The first half takes the link from 0.5 to 1.5 (its last layer is there at 1.75), the second then until 2.75.
    copied = policy.heard[3]
    assert isinstance(copied, Copied)
    assert copied.at_s == pytest.approx(2.75)


def test_a_request_decodes_while_it_is_copied_and_the_rest_comes_with_the_move() -> None:
    decode = step(Piece("a", 1), repeat=50)
    policy = Scripted([*start("a"), step(Piece("a", 20))], [decode, Copy("a", "gpu1")], [], [Move("a", "gpu1")])
    played = world(true("a", output=99))
    simulate(played, policy)
    # 20 tokens over at 1 + 0.5 + 2 = 3.5; the repeats end with the one under way, at 4; then 3 tokens are missing.
    assert policy.told()[1:] == [("StepDone", 1.0), ("Copied", 3.5), ("StepDone", 4.0), ("RequestMoved", 4.8)]
    assert played.view.requests["a"].computed_tokens == 23


def test_a_second_copy_makes_the_rest_smaller() -> None:
    decode = step(Piece("a", 1), repeat=50)
    copy = Copy("a", "gpu1")
    policy = Scripted([*start("a"), step(Piece("a", 20))], [decode, copy], [], [copy, decode], [], [Move("a", "gpu1")])
    simulate(world(true("a", output=99)), policy)
    # From 4 on the 3 tokens of these steps are copied, until 4.8; at 5 a single one is missing.
    assert policy.told()[3:] == [("StepDone", 4.0), ("Copied", 4.8), ("StepDone", 5.0), ("RequestMoved", 5.6)]


@pytest.mark.parametrize("end", [Uncopy("a"), Preempt("a"), Move("a", "gpu1")])
def test_what_is_given_up_is_not_heard_of(end: Uncopy | Preempt | Move) -> None:
    later = [] if isinstance(end, Uncopy) else [Uncopy("a"), end] if isinstance(end, Move) else [end]
    first = [end] if isinstance(end, Uncopy) else []
    policy = Scripted([*start("a"), step(Piece("a", 20))], [Copy("a", "gpu1"), *first, Wake(1.5)], later)
    played = world(true("a", output=9))
    simulate(played, policy)
    assert "Copied" not in [name for name, _ in policy.told()]
    assert not played.view.copies


def test_a_finished_request_leaves_nothing_to_wait_for() -> None:
    policy = Scripted([*start("a"), step(Piece("a", 20)), Copy("a", "gpu1")])
    played = world(true("a", output=1))
    simulate(played, policy)
    assert policy.told()[-1] == ("StepDone", 1.0)
    assert played.view.now_s == 1.0
    assert played.view.instances["gpu1"].kv.num_free == 64


def test_copies_to_an_instance_that_fails_are_lost() -> None:
    policy = Scripted([*start("a"), step(Piece("a", 20)), Copy("a", "gpu1")], [], [step(Piece("a", 1), repeat=2)])
    played = world(true("a", output=3), outages=(Outage(instance="gpu1", at_s=0.5, lasts_s=100.0),))
    simulate(played, policy)
    assert [name for name, _ in policy.told()] == [
        "RequestArrived",
        "Changed",
        "StepDone",
        "RequestFinished",
        "StepDone",
    ]


def test_what_does_not_fit_beside_a_copy_ends_the_repeats() -> None:
    """Memory that a copy takes is not there for the decodes of its destination."""
    decode = Step(instance="gpu1", pieces=(Piece("b", 1),), repeat=40)
    policy = Scripted(
        start("a"),
        [Move("b", "gpu1"), Start("b", {"gpu1": {}}), Step(instance="gpu1", pieces=(Piece("b", 16),)),
         step(Piece("a", 20))],
        [],
        [decode, Copy("a", "gpu1")],
    )  # fmt: skip
    instances = [InstanceState(name, BlockPool(num), num_layers=4) for name, num in (("gpu", 64), ("gpu1", 4))]
    simulate(ServingWorld([true("a", output=9), true("b", prompt=16, output=90)], instances, SECOND), policy)
    # Two of its four blocks are taken: b can come to 32 tokens, which is 16 repeats.
    assert ("StepDone", 17.0) in policy.told()
