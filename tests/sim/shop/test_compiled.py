"""Compiled and plain modules of the shop come to the same, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headway.core import compiled

PROGRAM = """
import hashlib
from sim.shop.shops import RULES, play, rough_world
from headway.policies.shop.dispatching import Dispatching
from headway.policies.shop.following import Following
from headway.policies.shop.planning import AsPlanner
from headway.policies.shop.serial_sgs import SerialSgs
told = hashlib.sha256()
for seed in range(12):
    policies = [Dispatching(rule=rule) for rule in RULES]
    for policy in [*policies, Following(planner=AsPlanner(solver=SerialSgs()), budget_s=0.0)]:
        world = rough_world(seed)
        told.update(repr((play(world, policy)[1], world.busy_s)).encode())
print(world.next.__class__.__name__, told.hexdigest())
"""


def outcome(native: str) -> list[str]:
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "HEADWAY_NATIVE": native, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.skipif(compiled.in_use() is None, reason="there is no compiled copy of these sources: make fast")
def test_compiled_and_plain_come_to_the_same() -> None:
    fast, plain = outcome("1"), outcome("0")
    assert fast[0] != plain[0]  # a method of a compiled class is not a Python method
    assert fast[1] == plain[1]
