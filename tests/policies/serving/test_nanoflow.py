"""NanoFlow's request scheduling, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nanoflow import NanoFlow
from headway.policies.serving.nouns import RequestFinished
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.world import ServingWorld
from policies.serving.making import OneInstance


def ended(output_tokens: int, number: int = 0) -> RequestFinished:
    return RequestFinished(
        at_s=1.0, id=f"e{number}", reason="stop", output_tokens=output_tokens, queue_s=0, ttft_s=0, tpot_s=0, e2e_s=1
    )


def teach(seat: NanoFlow, view: ServingView, output_tokens: int) -> None:
    for number in range(32):
        assert tuple(seat.steer(ended(output_tokens, number), view)) == ()


def test_a_step_is_filled_up_to_the_same_number_of_tokens() -> None:
    one = OneInstance(NanoFlow(dense_tokens=64), num_blocks=100)
    one.arrive("a", prompt=20, most=100)
    assert one.turn() == [("a", 20)]
    one.arrive("b", "c", prompt=100, most=10)
    assert one.turn() == [("a", 1), ("b", 63)]
    assert one.turn() == [("a", 1), ("b", 37), ("c", 26)]


def test_who_is_admitted_will_have_memory_to_the_end() -> None:
    one = OneInstance(NanoFlow(), num_blocks=40)  # 640 tokens
    one.arrive("a", "b", "c", prompt=100, most=140)  # 240 each in the end
    assert one.turn() == [("a", 100), ("b", 100)]
    assert one.waiting == ["c"]


def test_outputs_are_taken_to_be_of_average_length_once_it_is_known() -> None:
    seat = NanoFlow()
    one = OneInstance(seat, num_blocks=40)
    teach(seat, one.board, 60)
    one.arrive("a", "b", "c", "d", prompt=100, most=140)  # 160 each, and half a block
    assert one.turn() == [("a", 100), ("b", 100), ("c", 100)]
    seat.reset(np.random.default_rng(0))
    two = OneInstance(seat, num_blocks=40)
    two.arrive("a", "b", "c", prompt=100, most=140)
    assert len(two.turn()) == 2  # it has forgotten


def test_who_outlives_the_average_is_looked_at_anew() -> None:
    seat = NanoFlow(output_tokens=4)
    one = OneInstance(seat, num_blocks=12)
    one.arrive("a", prompt=60, most=100)
    for _ in range(40):
        one.turn()
    one.arrive("b", prompt=100, most=100)  # 100 + "b" to 104: too much, however short "a" was to be
    one.turn()
    assert one.waiting == ["b"]


def test_an_idle_instance_takes_anything_that_fits() -> None:
    one = OneInstance(NanoFlow(), num_blocks=10)
    one.arrive("a", prompt=150, most=500)
    assert one.turn() == [("a", 150)]


@pytest.mark.parametrize(("host_blocks", "how"), [(100, "swap"), (0, "requeue")])
def test_where_memory_was_too_little_one_leaves_for_the_hosts_memory_if_there_is_room(
    host_blocks: int, how: str
) -> None:
    seat = NanoFlow(output_tokens=1)
    one = OneInstance(seat, num_blocks=9)
    one.instance.host_blocks = host_blocks
    one.arrive("a", "b", prompt=60, most=100)
    step, draft = None, InstanceDraft(one.instance)
    while not draft.preempted:
        one.turn()
        draft = InstanceDraft(one.instance)
        step = seat.form(one.instance, draft, 0.0)
    assert step is not None
    assert [piece.request for piece in step.pieces] == ["a"]
    assert [(action.id, action.how) for action in draft.actions] == [("b", how)]  # type: ignore[attr-defined]


def test_swapped_requests_come_back_and_all_work_ends() -> None:
    instance = InstanceState("gpu", BlockPool(60), num_layers=8, host_blocks=500)
    world = ServingWorld(RandomRequests(rate_per_s=200.0).draw(0), [instance])
    simulate(world, Stack(batch=NanoFlow(output_tokens=1.0)))
    assert world.num_left == 0


@pytest.mark.parametrize("wrong", [{"dense_tokens": 0}, {"max_seqs": 0}, {"output_tokens": -1.0}])
def test_parameters_out_of_range_are_errors(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"serving/nanoflow: {next(iter(wrong))} must be"):
        NanoFlow(**wrong)  # type: ignore[arg-type]
