"""The same policy decides the same inside vLLM, in our world and in an engine of our own."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (make vllm)")

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engines.vllm.scripts import scripts
from engines.vllm.twins import (
    Memory,
    Sent,
    actions,
    in_order,
    in_our_engine,
    in_virtual_time,
    inside_vllm,
    runs,
    truths,
)
from headway.core.actions import Preempt
from headway.core.trace import Record
from headway.sim.serving.truth import TrueRequest

POLICIES = [
    "serving/orca",
    "serving/vllm",
    "serving/vllm-v1",
    "serving/sarathi",
    "serving/slos-serve",
    "serving/headway",
]
PLENTY, SHORT = Memory(1000), Memory(12)
MEMORIES = st.sampled_from([PLENTY, SHORT, Memory(20, max_seqs=4), Memory(1000, caching=True)])
EACH = pytest.mark.parametrize("policy", POLICIES)


def play(
    policy: str, script: list[Sent], memory: Memory, *, between: bool = True
) -> tuple[list[Record], list[TrueRequest]]:
    inside, rig = inside_vllm(policy, script, memory, between=between)
    rig.check_all_ended()
    assume(not memory.caching or not rig.surprised)
    assert not rig.surprised
    return inside, truths(inside, rig)


@EACH
@settings(max_examples=25, deadline=None)
@given(script=scripts(promises=True), memory=MEMORIES)
def test_decisions_are_those_of_the_world(policy: str, script: list[Sent], memory: Memory) -> None:
    inside, true = play(policy, script, memory)
    assert actions(inside) == actions(in_virtual_time(policy, true, memory))


@EACH
@settings(max_examples=25, deadline=None)
@given(script=scripts(promises=True), memory=MEMORIES)
def test_the_whole_conversation_is_that_of_the_world(policy: str, script: list[Sent], memory: Memory) -> None:
    inside, true = play(policy, script, memory, between=False)
    assert in_order(inside) == in_order(in_virtual_time(policy, true, memory))


# Those that learn how long steps take learn less from one step that was run often than from many steps.
@pytest.mark.parametrize("policy", ["serving/orca", "serving/vllm", "serving/vllm-v1", "serving/sarathi"])
@settings(max_examples=10, deadline=None)
@given(script=scripts(), memory=MEMORIES)
def test_all_three_decide_the_same(policy: str, script: list[Sent], memory: Memory) -> None:
    inside, true = play(policy, script, memory)
    assert actions(inside) == actions(in_virtual_time(policy, true, memory))
    assert runs(inside) == runs(in_our_engine(policy, true, memory))  # which runs every step once


@pytest.mark.parametrize("policy", ["serving/vllm", "serving/vllm-v1", "serving/sarathi", "serving/slos-serve"])
def test_they_preempt_the_same(policy: str) -> None:
    script = [Sent(number, 30, 60) for number in range(8)]
    inside, rig = inside_vllm(policy, script, SHORT)
    rig.check_all_ended()
    decided = actions(inside)
    assert any(isinstance(action, Preempt) for action in decided)
    assert decided == actions(in_virtual_time(policy, truths(inside, rig), SHORT))
