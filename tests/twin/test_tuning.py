"""One unchanged policy decides the same in virtual and in real time: fine-tuning beside serving."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core import catalogue
from headway.core.clock import TestClock
from headway.core.drivers import serve, simulate
from headway.core.policy import Policy
from headway.core.session import Session
from headway.core.trace import MemoryTrace, Record
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import JobFinished, Microbatch, RequestFinished, Step, TuneJob
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.tuning import Tuning
from headway.sim.serving.units import ChunkUnits, TrueJob
from headway.sim.serving.world import ServingWorld
from twin.training_engine import CAN, TrainingEngine

IDS = [row.id for row in catalogue.rows("tuning") if row.seat == "share"]
UNITS = ChunkUnits(LinearPrice(), num_layers=4)
PLAN = (Microbatch(64), Microbatch(80, updates=True), Microbatch(48)) * 4 + (Microbatch(64, trains=False),)


def instances(num_blocks: Sequence[int]) -> list[InstanceState]:
    return [InstanceState(f"gpu{n}", BlockPool(blocks), num_layers=4) for n, blocks in enumerate(num_blocks)]


def jobs(num: int) -> list[TuneJob]:
    return [
        TuneJob(id=f"job{n}", arrival_s=0.21 * n, num_layers=4, microbatches=PLAN, kv_blocks=5 + n) for n in range(num)
    ]


def in_virtual_time(
    policy: Policy[ServingView], requests: list[TrueRequest], num_blocks: Sequence[int], num_jobs: int
) -> list[Record]:
    up, trace = instances(num_blocks), MemoryTrace()
    true = [TrueJob(job=job) for job in jobs(num_jobs)]
    tuning = Tuning(true, {i.id: UNITS for i in up}, disturb_frac=0.0, until_done=True)
    world = ServingWorld(requests, up, can=CAN, tuning=tuning)
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    return list(trace.records)


def in_real_time(
    policy: Policy[ServingView], requests: list[TrueRequest], num_blocks: Sequence[int], num_jobs: int
) -> list[Record]:
    trace = MemoryTrace()

    async def main() -> None:
        engine = TrainingEngine(requests, instances(num_blocks), LinearPrice(), TestClock(), jobs(num_jobs), UNITS)
        await serve(engine, policy, session=Session(policy, engine.view, trace=trace))

    asyncio.run(main())
    return list(trace.records)


@pytest.mark.parametrize("id", [id for id in IDS if id != "tuning/dedicated"])
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    num=st.integers(1, 25),
    num_blocks=st.sampled_from([(50,), (90,), (50, 70)]),
    num_jobs=st.integers(1, 2),
)
def test_the_whole_conversation_is_the_same(
    id: str, seed: int, num: int, num_blocks: Sequence[int], num_jobs: int
) -> None:
    policy = catalogue.build(id)
    drawn = RandomRequests(num_requests=num, rate_per_s=40.0).draw(seed)
    virtual = in_virtual_time(policy, drawn, num_blocks, num_jobs)
    assert in_real_time(policy, drawn, num_blocks, num_jobs) == virtual
    assert {record.id for record in virtual if isinstance(record, RequestFinished)} == {t.request.id for t in drawn}
    assert {record.id for record in virtual if isinstance(record, JobFinished)} == {job.id for job in jobs(num_jobs)}


def test_hardware_of_its_own_is_the_same_in_both() -> None:
    policy = catalogue.build("tuning/dedicated")
    drawn = RandomRequests(num_requests=20, rate_per_s=40.0).draw(1)
    virtual = in_virtual_time(policy, drawn, (80, 50), 1)
    assert in_real_time(policy, drawn, (80, 50), 1) == virtual
    where = {step.instance: bool(step.tune) for step in virtual if isinstance(step, Step)}
    assert where == {"gpu0": False, "gpu1": True}
