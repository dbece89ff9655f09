"""What instances can do beyond one step after the other: stages, transfers, swaps, failures, and requests in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core import catalogue
from headway.core.actions import Move, Preempt, Start
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Changed, Failed
from headway.core.session import Session
from headway.core.trace import MemoryTrace, Record
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import DoorOpen, Piece, RequestFinished, RequestMoved, Step, StepDone
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.sim.serving.links import Links
from headway.sim.serving.log import RequestLog, class_of
from headway.sim.serving.outages import Outage, draw_outages
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.table_requests import TableRequests
from headway.sim.serving.world import ServingWorld
from headway.traces.table import Labels, Prefixes, RequestTable
from sim.serving.test_world import SECOND, Scripted, start, step, true


def instance(name: str = "gpu", num_blocks: int = 64, num_stages: int = 1, host_blocks: int = 0) -> InstanceState:
    return InstanceState(name, BlockPool(num_blocks), 4, num_stages=num_stages, host_blocks=host_blocks)


def play(world: ServingWorld, policy: Stack | None = None) -> list[Record]:
    trace, policy = MemoryTrace(), policy or Stack(batch=SarathiServe())
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    return list(trace.records)


# Stages ----------------------------------------------------------------------------


def test_stages_hand_steps_on_in_turn() -> None:
    records = play(ServingWorld([true("a", output=3), true("b", output=3)], [instance(num_stages=2)], SECOND))
    doors = [record.at_s for record in records if isinstance(record, DoorOpen)]
    done = [(record.at_s, record.step_s) for record in records if isinstance(record, StepDone)]
    assert (
        doors[0] == 1.0
    )  # both requests are in the first step: the stage behind the door is free, with nobody to go in
    assert done == [(2.0, 2.0), (4.0, 2.0), (6.0, 2.0)]
    late = [true("a", output=3), true("b", at_s=0.5, output=3)]
    records = play(ServingWorld(late, [instance(num_stages=2)], SECOND))
    done = [(record.at_s, record.num_tokens) for record in records if isinstance(record, StepDone)]
    assert done == [(2.0, 20), (3.0, 20), (4.0, 1), (5.0, 1), (6.0, 1), (7.0, 1)]  # in turn, a step in each stage


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1 << 20),
    id=st.sampled_from([row.id for row in catalogue.rows("serving") if row.seat == "batch"]),
    num_stages=st.integers(2, 4),
)
def test_everybody_is_served_once_by_a_pipeline(seed: int, id: str, num_stages: int) -> None:
    drawn = RandomRequests(num_requests=30).draw(seed)
    world = ServingWorld(drawn, [instance(num_blocks=90, num_stages=num_stages)])
    records = play(world, catalogue.build(id))
    ended = [record.id for record in records if isinstance(record, RequestFinished | Failed)]
    assert sorted(ended) == sorted(item.request.id for item in drawn)
    (state,) = world.view.instances.values()
    assert state.kv.num_free == state.kv.num_blocks
    assert not state.flying
    check_flights(records, num_stages)


def check_flights(records: Sequence[Record], num_stages: int) -> None:
    """No request is in two steps at once, and no more steps are under way than there are stages."""
    flying: list[set[str]] = []
    for record in records:
        if isinstance(record, StepDone):
            flying.pop(0)  # the first in is the first out
        elif isinstance(record, Step):
            names = {piece.request for piece in record.pieces}
            assert all(names.isdisjoint(others) for others in flying)
            flying.append(names)
            assert len(flying) <= num_stages


# Memory on the move ----------------------------------------------------------------------------


def test_a_running_request_moves_with_its_memory_and_goes_on() -> None:
    move = Move("a", "gpu1")
    decode = Step(instance="gpu1", pieces=(Piece("a", 1),))
    policy = Scripted([*start("a"), step(Piece("a", 20))], [move], [decode], [decode])
    links = Links(token_bytes=10.0, between_bytes_per_s=100.0, latency_s=0.5)
    world = ServingWorld([true("a", output=3)], [instance(), instance("gpu1")], SECOND, links=links)
    simulate(world, policy)
    assert policy.told() == [
        ("RequestArrived", 0.0), ("StepDone", 1.0), ("RequestMoved", 3.5), ("StepDone", 4.5), ("RequestFinished", 5.5),
        ("StepDone", 5.5),
    ]  # fmt: skip
    moved = policy.heard[2]
    assert isinstance(moved, RequestMoved)
    assert (moved.instance, moved.took_s) == ("gpu1", 2.5)
    assert all(i.kv.num_free == i.kv.num_blocks for i in world.view.instances.values())


def test_who_arrives_at_a_busy_instance_lands_at_the_end_of_its_step() -> None:
    decode = Step(instance="gpu1", pieces=(Piece("b", 1),), repeat=50)
    policy = Scripted(
        [Move("a", "gpu"), Start("a", {"gpu": {}})],
        [Move("b", "gpu1"), Start("b", {"gpu1": {}}), Step(instance="gpu1", pieces=(Piece("b", 20),))],
        [decode, step(Piece("a", 20))],
        [Move("a", "gpu1")],
    )
    links = Links(token_bytes=1.0, between_bytes_per_s=100.0, latency_s=0.25)
    world = ServingWorld(
        [true("a", output=9), true("b", output=9)], [instance(), instance("gpu1")], SECOND, links=links
    )
    simulate(world, policy)
    told = policy.told()
    assert ("RequestMoved", 3.0) in told  # the transfer took until 2.45; the step under way until 3
    assert told[told.index(("RequestMoved", 3.0)) + 1] == ("StepDone", 3.0)


def test_swapped_requests_lose_nothing_but_the_time_of_two_transfers() -> None:
    decode = step(Piece("a", 1))
    policy = Scripted(
        [*start("a"), step(Piece("a", 20))],
        [Preempt("a", "swap"), Start("a", {"gpu": {}}), decode],
        [decode],
    )
    links = Links(token_bytes=10.0, host_bytes_per_s=400.0)
    world = ServingWorld([true("a", output=3)], [instance(host_blocks=2)], SECOND, links=links)
    simulate(world, policy)
    assert policy.told() == [
        ("RequestArrived", 0.0), ("StepDone", 1.0), ("StepDone", 3.0), ("RequestFinished", 4.0), ("StepDone", 4.0),
    ]  # fmt: skip


def test_the_host_has_so_much_memory_and_no_more() -> None:
    policy = Scripted([*start("a"), step(Piece("a", 20))], [Preempt("a", "swap")])
    world = ServingWorld([true("a")], [instance(host_blocks=1)], SECOND)
    report = simulate(world, policy)
    assert report.refused == {"there is not enough host memory": 1}


# Failures ----------------------------------------------------------------------------


def test_whoever_was_at_a_failed_instance_starts_anew_elsewhere() -> None:
    outage = Outage(instance="gpu", at_s=2.5, lasts_s=4.0)
    world = ServingWorld(
        [true("a", output=6), true("b", output=6)], [instance(), instance("gpu1")], SECOND, outages=[outage]
    )
    records = play(world)
    changes = [(record.at_s, record.up) for record in records if isinstance(record, Changed)]
    assert changes == [(2.5, False), (6.5, True)]
    done = {record.id: record for record in records if isinstance(record, RequestFinished)}
    assert done["b"].e2e_s == 6.0
    assert done["a"].num_preempted == 1
    assert done["a"].output_tokens == 6  # what it was given stays given
    assert done["a"].e2e_s > 6.0


def test_requests_wait_while_everything_is_down() -> None:
    outage = Outage(instance="gpu", at_s=1.0, lasts_s=9.0)
    records = play(ServingWorld([true("a", at_s=2.0, output=1)], [instance()], SECOND, outages=[outage]))
    (done,) = [record for record in records if isinstance(record, RequestFinished)]
    assert (done.queue_s, done.ttft_s) == (8.0, 9.0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1 << 20), id=st.sampled_from(["serving/sarathi", "serving/vllm", "serving/orca"]))
def test_everybody_is_served_once_whatever_fails(seed: int, id: str) -> None:
    drawn = RandomRequests(num_requests=40).draw(seed)
    places = [instance(f"gpu{number}", 90, num_stages=1 + number) for number in range(2)]
    rng = np.random.default_rng(seed)
    outages = draw_outages(["gpu0", "gpu1"], 20.0, mtbf_s=1.0, repair_s=0.3, startup_s=0.1, rng=rng)
    world = ServingWorld(drawn, places, outages=outages)
    records = play(world, catalogue.build(id))
    ended = [record.id for record in records if isinstance(record, RequestFinished | Failed)]
    assert sorted(ended) == sorted(item.request.id for item in drawn)
    assert all(place.kv.num_free == place.kv.num_blocks for place in places)


def test_outages_must_be_possible() -> None:
    with pytest.raises(ConfigError, match="mtbf_s must be > 0"):
        draw_outages(["gpu"], 1.0, 0.0, 1.0, 1.0, np.random.default_rng(0))


# The requests of a table ----------------------------------------------------------------------------


def test_a_request_is_sent_after_the_one_before_it_has_ended() -> None:
    table = RequestTable(
        np.array([0.0, 0.0, 1.0]), np.array([20, 30, 40]), np.array([3, 2, 1]),
        after=np.array([-1, 0, 1]), gap_s=np.array([0.0, 0.5, 2.0]),
    )  # fmt: skip
    world = ServingWorld(TableRequests(table), [instance()], SECOND)
    log, policy, trace = RequestLog(), Stack(batch=SarathiServe()), MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, trace=trace, instruments=[log]))
    done = [record for record in trace.records if isinstance(record, RequestFinished)]
    assert [(record.id, record.at_s) for record in done] == [("0", 3.0), ("1", 5.5), ("2", 8.5)]
    assert world.num_left == 0
    assert log.works(table, [])["arrival_s"].tolist() == [0.0, 3.5, 7.5]


def test_nobody_follows_who_was_turned_away() -> None:
    table = RequestTable(
        np.array([0.0, 0.0, 0.0]), np.array([9999, 30, 40]), np.array([3, 2, 1]), after=np.array([-1, 0, 1]),
        gap_s=np.zeros(3),
    )  # fmt: skip
    world = ServingWorld(TableRequests(table), [instance()], SECOND)
    assert [record.id for record in play(world) if isinstance(record, Failed)] == ["0"]
    assert (world.num_unsent, world.num_left) == (2, 0)


def test_labels_and_hashes_come_with_a_request() -> None:
    table = RequestTable(
        np.array([0.0, 1.0]), np.array([100, 70]), np.array([3, 2]),
        labels={"tenant": Labels.of(["x", "y"]), "slo_class": Labels.of(["chat", "batch"])},
        prefixes=Prefixes.of(64, [[7, 8], [7, 9]]),
    )  # fmt: skip
    first, second = TableRequests(table, block_size=16)
    assert (first.request.tenant, second.request.slo_class) == ("x", "batch")
    assert len(first.request.hashes) == 6
    assert len(second.request.hashes) == 4
    assert first.request.hashes[:4] == second.request.hashes[:4]
    assert first.request.max_tokens == 3
    some = replace(table, labels={"slo_class": Labels.of(["", "batch"])})
    assert [item.request.slo_class for item in TableRequests(some)] == ["default", "batch"]
    assert class_of(some, np.array([1, 0])).tolist() == ["batch", "default"]
    whole = next(iter(TableRequests(table, block_size=128)))
    assert whole.request.hashes == ()
    with pytest.raises(ConfigError, match="block_size: must divide"):
        list(TableRequests(table, block_size=48))
