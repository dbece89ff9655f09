"""Compiled and plain modules come to the same, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from headway.core import compiled

PROGRAM = """
import hashlib
from headway.core import catalogue
from headway.core.drivers import simulate
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.sim.serving.gaps import TokenGaps
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.small import small_world
from headway.sim.serving.world import ServingWorld
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.state import InstanceState
told = hashlib.sha256()
for id in ("serving/orca", "serving/vllm", "serving/sarathi"):
    for seed in range(6):
        requests = RandomRequests(num_requests=80, rate_per_s=30.0, max_tokens=80, output_tokens=30).draw(seed)
        gaps = TokenGaps()
        world = ServingWorld(requests, [InstanceState(f"g{n}", BlockPool(70), 4) for n in range(2)], gaps=gaps)
        policy, trace = catalogue.build(id), MemoryTrace()
        report = simulate(world, policy, session=Session(policy, world.view, seed=seed, trace=trace))
        told.update(repr((list(trace.records), world.busy_s, gaps.itl_s.at(0.5), gaps.itl_s.total)).encode())
print(world.next.__class__.__name__, told.hexdigest())
"""


def outcome(native: str) -> list[str]:
    environment = {**os.environ, "HEADWAY_NATIVE": native}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.skipif(compiled.in_use() is None, reason="there is no compiled copy of these sources: make fast")
def test_compiled_and_plain_come_to_the_same() -> None:
    fast, plain = outcome("1"), outcome("0")
    assert fast[0] != plain[0]  # a method of a compiled class is not a Python method
    assert fast[1] == plain[1]


def test_copies_of_other_sources_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compiled.folders()
    monkeypatch.setattr(compiled, "sources", list)
    assert not set(before) & set(compiled.folders())
