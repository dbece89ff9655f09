"""Lending in virtual time: when blocks arrive, and what steps cost while some are elsewhere."""

from __future__ import annotations

import pytest

from headway.core.actions import Action, Move, Start, Wake
from headway.core.drivers import simulate
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Lend, Lent, Piece, RequestFinished, Step, StepDone
from headway.policies.serving.state import InstanceState
from headway.sim.serving.links import Links
from headway.sim.serving.outages import Outage
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from sim.serving.test_world import Scripted, true

READING = LinearPrice(fixed_s=1.0, prefill_token_s=0.0, decode_s=0.0, context_token_s=0.01)
"""A step takes a second, and 10 ms per token that is read."""


def world(
    *requests: TrueRequest, links: Links | None = None, outages: tuple[Outage, ...] = (), price: LinearPrice = READING
) -> ServingWorld:
    instances = [InstanceState(name, BlockPool(64), num_layers=4) for name in ("gpu", "gpu1")]
    return ServingWorld(requests, instances, price, links=links, outages=outages)


def step(*pieces: tuple[str, int], repeat: int = 1, instance: str = "gpu") -> Step:
    return Step(instance=instance, pieces=tuple(Piece(*piece) for piece in pieces), repeat=repeat)


def start(name: str, tokens: int = 112) -> list[Action]:
    return [Move(name, "gpu"), Start(name, {"gpu": {"kv_tokens": tokens}})]


def steps_of(policy: Scripted, instance: str = "gpu") -> list[float]:
    return [event.step_s for event in policy.heard if isinstance(event, StepDone) and event.instance == instance]


def test_a_step_waits_for_the_slower_of_home_and_holder() -> None:
    """100 tokens, 64 of them away: 36 are read here while 64 are read there."""
    policy = Scripted(
        [*start("a"), step(("a", 100))],
        [Lend("a", "gpu1", 4, tokens_per_step=64)],
        [step(("a", 1))],
        [step(("a", 1))],
    )
    simulate(world(true("a", prompt=100, output=3)), policy)
    assert steps_of(policy) == pytest.approx([2.0, 1.65, 1.65])


def test_repeated_steps_cost_the_same() -> None:
    policy = Scripted(
        [*start("a"), step(("a", 100))],
        [Lend("a", "gpu1", 4, tokens_per_step=64)],
        [step(("a", 1), repeat=9)],
    )
    simulate(world(true("a", prompt=100, output=5)), policy)
    assert steps_of(policy) == pytest.approx([2.0, 4 * 1.65])


def test_the_way_to_the_holder_and_back_is_waited_for_in_every_layer() -> None:
    links = Links(round_s=0.5, attend_bytes=10.0, between_bytes_per_s=100.0)
    policy = Scripted(
        [*start("a"), step(("a", 100))],
        [Lend("a", "gpu1", 4, tokens_per_step=64)],
        [step(("a", 1))],
    )
    simulate(world(true("a", prompt=100, output=2), links=links), policy)
    assert steps_of(policy)[1] == pytest.approx(1.01 + 0.64 + 4 * 0.5 + 0.1)


def test_what_is_held_for_others_takes_its_share_of_the_time() -> None:
    """The holder attends for 0.64 s in each step of 1.65 s: its own steps take 1 + 0.64 / 1.65 times as long."""
    policy = Scripted(
        [*start("a"), step(("a", 100))],
        [Move("b", "gpu1"), Start("b", {"gpu1": {"kv_tokens": 32}})],
        [Lend("a", "gpu1", 4, tokens_per_step=64)],
        [step(("a", 1), repeat=9), step(("b", 20), instance="gpu1")],
    )
    simulate(world(true("a", prompt=100, output=9), true("b", at_s=0.5, prompt=20, output=1)), policy)
    assert steps_of(policy, "gpu1") == pytest.approx([1.2 * (1 + 0.64 / 1.65)])


def test_two_that_hold_for_each_other_take_as_long_as_both_reads_together() -> None:
    """Each reads 0.64 s for the other in every step, and goes on with the next in as long."""
    other = [Move("b", "gpu1"), Start("b", {"gpu1": {"kv_tokens": 112}}), step(("b", 100), instance="gpu1")]
    policy = Scripted(
        [*start("a"), step(("a", 100))],
        other,
        [Lend("a", "gpu1", 4, tokens_per_step=64)],
        [Lend("b", "gpu", 4, tokens_per_step=64)],
        [],
        [step(("a", 1), repeat=9), step(("b", 1), repeat=9, instance="gpu1")],
    )
    simulate(world(true("a", prompt=100, output=6), true("b", prompt=100, output=6)), policy)
    # The first to begin learns of the other after a step.
    assert steps_of(policy)[1] == pytest.approx(1.65 + 4 * (1.01 + 2 * 0.64))
    assert steps_of(policy, "gpu1")[1] == pytest.approx(5 * (1.01 + 2 * 0.64))


def test_blocks_move_so_many_tokens_per_step_and_no_faster_than_the_link() -> None:
    def arrival(rate: int, links: Links | None = None) -> float:
        policy = Scripted(
            [*start("a"), step(("a", 100))],
            [Lend("a", "gpu1", 4, tokens_per_step=rate), step(("a", 1), repeat=90)],
        )
        simulate(world(true("a", prompt=100, output=60), links=links), policy)
        return next(event.took_s for event in policy.heard if isinstance(event, Lent))

    slow = Links(token_bytes=10.0, between_bytes_per_s=10.0)
    assert arrival(64) < arrival(16) < arrival(8)
    assert arrival(64, slow) > 64


def test_more_than_what_hides_behind_a_step_makes_it_longer() -> None:
    def first_s(rate: int) -> float:
        policy = Scripted(
            [*start("a"), step(("a", 100))],
            [Lend("a", "gpu1", 4, tokens_per_step=rate), step(("a", 1))],
        )
        far = Links(token_bytes=1.0, between_bytes_per_s=1.0)
        simulate(world(true("a", prompt=100, output=2), links=far), policy)
        return steps_of(policy)[1]

    assert first_s(16) == pytest.approx(2.01)
    assert first_s(32) == pytest.approx(2.01 / (1 - 0.086), rel=1e-3)


def test_a_prompt_larger_than_an_instance_is_computed_over_both() -> None:
    """1,500 tokens where 1,024 fit: 800 lie elsewhere, and are read there."""
    split = Start("a", {"gpu": {"kv_tokens": 720}, "gpu1": {"kv_tokens": 800}})
    policy = Scripted(
        [Move("a", "gpu"), split, step(("a", 1000))],
        [step(("a", 500))],
        [step(("a", 1), repeat=9)],
    )
    one = world(true("a", prompt=1500, output=4))
    simulate(one, policy)
    assert [event.output_tokens for event in policy.heard if isinstance(event, RequestFinished)] == [4]
    # The second chunk reads 200 + 500 tokens here and 800 there; alone it would read 2,000 here.
    assert steps_of(policy)[:2] == pytest.approx([1 + 10.0, 1 + 5.0 + 8.0])
    assert all(instance.kv.num_free == 64 for instance in one.view.instances.values())


def test_the_failure_of_a_holder_is_heard_of_at_home() -> None:
    policy = Scripted(
        [*start("a"), step(("a", 100))],
        [Lend("a", "gpu1", 4, tokens_per_step=64), Wake(2.5, "x")],
        [step(("a", 1), repeat=99)],
        [],
        [step(("a", 1), repeat=99)],
    )
    outage = Outage(instance="gpu1", at_s=10.0, lasts_s=1e6)
    one = world(true("a", prompt=100, output=90), outages=(outage,))
    simulate(one, policy)
    assert [event.at_s for event in policy.heard if isinstance(event, Lent)] == pytest.approx(
        [2.5 + 2.01 * (1 + 48 * 0.0059)]
    )
    assert list(one.view.instances["gpu"].waiting) == ["a"]
    done = [event.at_s for event in policy.heard if isinstance(event, StepDone)]
    assert 10.0 < done[-1] < 12.0  # the repeat under way is the last
    assert one.view.instances["gpu"].kv.num_free == 64
