"""One unchanged policy decides the same in virtual and in real time: the core's own board."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Start
from headway.core.clock import TestClock
from headway.core.drivers import serve, simulate
from headway.core.events import Failed, Finished
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from twin.machines import Job, MachineEngine, MachineWorld, ShortestFirst, draw, machines


def in_virtual_time(policy: ShortestFirst, jobs: list[Job], num_machines: int) -> MemoryTrace:
    world, trace = MachineWorld(jobs, machines(num_machines, 2.0)), MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, trace=trace, strict=True))
    return trace


def in_real_time(policy: ShortestFirst, jobs: list[Job], num_machines: int) -> MemoryTrace:
    trace = MemoryTrace()

    async def main() -> None:
        engine = MachineEngine(jobs, machines(num_machines, 2.0), TestClock())
        await serve(engine, policy, session=Session(policy, engine.view, trace=trace, strict=True))

    asyncio.run(main())
    return trace


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 30), num=st.integers(1, 25), num_machines=st.integers(1, 3))
def test_the_whole_conversation_is_the_same(seed: int, num: int, num_machines: int) -> None:
    policy, jobs = ShortestFirst(), draw(seed, num)
    virtual = in_virtual_time(policy, jobs, num_machines)
    real = in_real_time(policy, jobs, num_machines)
    assert real.actions == virtual.actions
    assert list(real.records) == list(virtual.records)
    ended = [record.id for record in virtual.records if isinstance(record, Finished | Failed)]
    assert sorted(ended) == sorted(job.work.id for job in jobs)


def test_the_shortest_of_what_has_arrived_goes_first() -> None:
    jobs = [job for job in draw(5, 20) if job.work.arrival_s == 0.0]
    started = [action.id for action in in_virtual_time(ShortestFirst(), jobs, 1).actions if isinstance(action, Start)]
    sizes = {job.work.id: (job.work.size, job.work.id) for job in jobs}
    assert len(started) > 1
    assert started[0] == min(started, key=lambda name: sizes[name])
