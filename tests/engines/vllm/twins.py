"""The same requests under the same policy: inside vLLM, in our virtual world, and in an engine of our own in real time.

Requests come at scripted steps of vLLM's. By its own clock that is at certain times, and at these they come to the
others. Steps cost the same everywhere, in numbers that add up without rounding.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from engines.vllm.rig import HOSTED, Rig
from headway.core.actions import Action
from headway.core.clock import TestClock
from headway.core.drivers import serve, simulate
from headway.core.session import Session
from headway.core.trace import MemoryTrace, Record, read_trace
from headway.engines.vllm.chain import number
from headway.engines.vllm.host import INSTANCE
from headway.engines.vllm.settings import CAN, build_policy, settings_of
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestArrived, RequestFinished, Step, StepDone
from headway.policies.serving.state import InstanceState
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from twin.serving_engine import FakeEngine

PRICE = LinearPrice(fixed_s=2.0**-7, prefill_token_s=2.0**-13, decode_s=2.0**-14, context_token_s=2.0**-24)


class Sent(NamedTuple):
    """A request of the script: at which step of vLLM's it comes, and what it is."""

    step: int
    prompt: int | Sequence[int]
    max_tokens: int
    stops_at: int | None = None
    priority: int = 0
    xargs: Mapping[str, Any] | None = None


class Memory(NamedTuple):
    """What there is of it, and what Headway is told besides."""

    num_blocks: int
    caching: bool = False
    max_seqs: int = 64
    block_size: int = 16
    settings: Mapping[str, Any] = {}


def inside_vllm(
    policy: str,
    script: Sequence[Sent],
    memory: Memory,
    *,
    between: bool = True,
    overlapped: bool = False,
) -> tuple[list[Record], Rig]:
    """Play a script inside vLLM; returns what was said, and the bench at the end.

    Requests come between two steps, as vLLM's engine core hears of them, or else while a step is computed.
    """
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.jsonl"
        rig = Rig(
            HOSTED,
            num_blocks=memory.num_blocks,
            caching=memory.caching,
            max_seqs=memory.max_seqs,
            block_size=memory.block_size,
            overlapped=overlapped,
            price=PRICE,
            headway={"policy": policy, "trace": str(trace), **memory.settings},
        )
        _note_surprises(rig)
        _play(rig, script, between)
        rig.scheduler.shutdown()
        return list(read_trace(trace)), rig


def _note_surprises(rig: Rig) -> None:
    """Note whether vLLM ever finds what the books do not know of: what another computes in the very same step."""
    host: Any = rig.scheduler
    host, rig.surprised = host.host, False
    settle = host.settle

    def noting(plan: Any, done: Any, num_done: int, found: Mapping[str, int]) -> Any:
        booked = host.board.requests
        rig.surprised |= any(booked[name].computed_tokens != tokens for name, tokens in found.items())
        return settle(plan, done, num_done, found)

    host.settle = noting


def _play(rig: Rig, script: Sequence[Sent], between: bool) -> None:
    left = sorted(enumerate(script), key=lambda item: item[1].step)

    def send(until: int) -> None:
        while left and left[0][1].step <= until:
            index, sent = left.pop(0)
            rig.add(f"r{index:02}", sent.prompt, sent.max_tokens, sent.stops_at, sent.priority, sent.xargs)

    did = True
    for step in range(20_000):
        if not did and left:  # the end of the last step has been heard of: what comes now comes later
            rig.clock.move_to(rig.clock.now_s() + PRICE.fixed_s)
        if not rig.has_work and left:  # whoever is next comes now
            send(left[0][1].step)
        rig.on_executed = None if between else partial(send, step)
        if between:
            send(step)
        did = rig.step()
        if not left and not rig.has_work:
            return
    raise AssertionError(f"not over after {step} steps")


def truths(records: Sequence[Record], rig: Rig) -> list[TrueRequest]:
    """Return what arrived inside vLLM, with what became of it."""
    return [_truth(record.work, rig) for record in records if isinstance(record, RequestArrived)]


def _truth(request: Request, rig: Rig) -> TrueRequest:
    hashes = [number(hash_) for hash_ in rig.requests[request.id].block_hashes]
    stops_at = rig.model.stops_at.get(request.id, request.max_tokens + 1)
    return TrueRequest(request=request, output_tokens=stops_at, output_hashes=tuple(hashes[len(request.hashes) :]))


def in_virtual_time(policy: str, requests: Sequence[TrueRequest], memory: Memory) -> list[Record]:
    """Play the same in our world."""
    settings = settings_of({"headway": {"policy": policy, **memory.settings}})
    world = ServingWorld(requests, [_instance(memory)], PRICE, can=CAN, promises=settings.slo_classes)
    built, trace = build_policy(settings), MemoryTrace()
    simulate(world, built, session=Session(built, world.view, trace=trace))
    return list(trace.records)


def in_our_engine(policy: str, requests: Sequence[TrueRequest], memory: Memory) -> list[Record]:
    """Play the same in an engine of our own, on a test clock."""
    built, trace = build_policy(settings_of({"headway": {"policy": policy}})), MemoryTrace()

    async def main() -> None:
        engine = FakeEngine(requests, [_instance(memory)], PRICE, TestClock())
        await serve(engine, built, session=Session(built, engine.view, trace=trace))

    asyncio.run(main())
    return list(trace.records)


def _instance(memory: Memory) -> InstanceState:
    return InstanceState(INSTANCE, BlockPool(memory.num_blocks, memory.block_size, memory.caching), 1, memory.max_seqs)


def actions(records: Sequence[Record]) -> list[Action]:
    """Return the decisions of a conversation."""
    return [record for record in records if isinstance(record, Action)]


def runs(records: Sequence[Record]) -> list[Action]:
    """Return the decisions of a conversation, with steps as often as they were run."""
    found: list[Action] = []
    where, step = 0, Step(instance=INSTANCE, pieces=())
    for record in records:
        if isinstance(record, Step):
            where, step = len(found), replace(record, repeat=1)
        elif isinstance(record, Action):
            found.append(record)
        elif isinstance(record, StepDone):
            found[where:where] = [step] * record.num_runs
    return found


def in_order(records: Sequence[Record]) -> list[Record]:
    """Return a conversation in which those that end together end by name; vLLM and the books may differ in that."""
    found = list(records)
    for start, record in enumerate(found):
        if isinstance(record, RequestFinished):
            end = start + 1
            while end < len(found) and isinstance(found[end], RequestFinished):
                end += 1
            found[start:end] = sorted(found[start:end], key=lambda told: told.id)  # type: ignore[union-attr]
    return found
