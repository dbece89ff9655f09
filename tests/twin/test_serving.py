"""One unchanged policy decides the same in virtual and in real time: serving."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core import catalogue
from headway.core.clock import ScaledClock, TestClock
from headway.core.drivers import serve, simulate
from headway.core.session import Session
from headway.core.trace import MemoryTrace, Record
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import RequestFinished
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from twin.serving_engine import FakeEngine

IDS = [row.id for row in catalogue.rows("serving") if row.seat == "batch"]


def instances(num_blocks: Sequence[int]) -> list[InstanceState]:
    return [InstanceState(f"gpu{n}", BlockPool(blocks), num_layers=4) for n, blocks in enumerate(num_blocks)]


def in_virtual_time(policy: Stack, requests: list[TrueRequest], num_blocks: Sequence[int]) -> list[Record]:
    world = ServingWorld(requests, instances(num_blocks), can=frozenset({"layer_ranges"}))
    trace = MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    return list(trace.records)


def in_real_time(policy: Stack, requests: list[TrueRequest], num_blocks: Sequence[int]) -> list[Record]:
    trace = MemoryTrace()

    async def main() -> None:
        engine = FakeEngine(requests, instances(num_blocks), LinearPrice(), TestClock())
        await serve(engine, policy, session=Session(policy, engine.view, trace=trace))

    asyncio.run(main())
    return list(trace.records)


def requests(seed: int, num: int, grid_s: float) -> list[TrueRequest]:
    """Random requests; with a grid, many arrive at the same instant."""
    drawn = RandomRequests(num_requests=num, rate_per_s=40.0).draw(seed)
    if grid_s:
        for index, true in enumerate(drawn):
            at_s = true.request.arrival_s // grid_s * grid_s
            drawn[index] = msgspec.structs.replace(true, request=msgspec.structs.replace(true.request, arrival_s=at_s))
    return drawn


@pytest.mark.parametrize("id", IDS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    num=st.integers(1, 30),
    grid_s=st.sampled_from([0.0, 0.1, 10.0]),
    num_blocks=st.sampled_from([(45,), (80,), (45, 60)]),
)
def test_the_whole_conversation_is_the_same(
    id: str, seed: int, num: int, grid_s: float, num_blocks: Sequence[int]
) -> None:
    policy = catalogue.build(id)
    drawn = requests(seed, num, grid_s)
    virtual = in_virtual_time(policy, drawn, num_blocks)
    assert in_real_time(policy, drawn, num_blocks) == virtual
    assert {record.id for record in virtual if isinstance(record, RequestFinished)} == {t.request.id for t in drawn}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 30), grid_s=st.sampled_from([0.0, 10.0]), num_blocks=st.sampled_from([(45,), (45, 60)]))
def test_whose_turn_it_is_among_tenants_is_the_same(seed: int, grid_s: float, num_blocks: Sequence[int]) -> None:
    policy = catalogue.build("serving/fair", {"weights": {"t1": 2.0}})
    drawn = [
        msgspec.structs.replace(true, request=msgspec.structs.replace(true.request, tenant=f"t{place % 3}"))
        for place, true in enumerate(requests(seed, 25, grid_s))
    ]
    virtual = in_virtual_time(policy, drawn, num_blocks)
    assert in_real_time(policy, drawn, num_blocks) == virtual


def test_a_rejection_is_told_in_both() -> None:
    drawn = requests(1, 10, 0.0)
    policy = catalogue.build("serving/sarathi")
    virtual = in_virtual_time(policy, drawn, (20,))
    assert {"Reject", "Failed"} <= {type(record).__name__ for record in virtual}
    assert in_real_time(policy, drawn, (20,)) == virtual


def test_on_a_clock_that_really_runs_every_request_ends() -> None:
    drawn = requests(3, 20, 0.0)
    policy = catalogue.build("serving/sarathi")
    trace = MemoryTrace()

    async def main() -> None:
        engine = FakeEngine(drawn, instances((80,)), LinearPrice(), ScaledClock(20.0))
        await serve(engine, policy, session=Session(policy, engine.view, trace=trace, strict=True))

    asyncio.run(main())
    ended = [record.id for record in trace.records if isinstance(record, RequestFinished)]
    assert sorted(ended) == sorted(true.request.id for true in drawn)
