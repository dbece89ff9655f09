"""Fairness between tenants inside vLLM."""

from __future__ import annotations

from statistics import mean

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (make vllm)")

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engines.vllm.scripts import scripts
from engines.vllm.twins import Memory, Sent, actions, in_virtual_time, inside_vllm, truths
from headway.core.actions import Start
from headway.core.trace import Record
from headway.policies.serving.nouns import RequestArrived, RequestFinished

FLOOD = [Sent(0, 60, 30, xargs={"headway_tenant": "flood"})] * 80
FEW = [Sent(step, 40, 10, xargs={"headway_tenant": "few"}) for step in (20, 60, 100, 140)]
FOUR_AT_ONCE = Memory(400, max_seqs=4)
TENANTS = st.sampled_from(["a", "b", "c"])


def tenants(records: list[Record]) -> dict[str, str]:
    return {record.work.id: record.work.tenant for record in records if isinstance(record, RequestArrived)}


def ttft_s(records: list[Record], tenant: str) -> float:
    """Return how long a tenant waited for first tokens, on the average."""
    of = tenants(records)
    return mean([r.ttft_s for r in records if isinstance(r, RequestFinished) and of[r.id] == tenant])


@pytest.mark.parametrize("overlapped", [False, True])
def test_a_flood_of_one_tenant_does_not_keep_another_waiting(overlapped: bool) -> None:
    found = {}
    for policy in ("serving/sarathi", "serving/fair"):
        records, rig = inside_vllm(policy, [*FLOOD, *FEW], FOUR_AT_ONCE, overlapped=overlapped)
        rig.check_all_ended()
        found[policy] = ttft_s(records, "few")
    assert found["serving/fair"] < found["serving/sarathi"] / 5


@pytest.mark.parametrize("overlapped", [False, True])
def test_weights_are_kept(overlapped: bool) -> None:
    script = [Sent(0, 50, 20, xargs={"headway_tenant": name}) for name in ("a", "b") for _ in range(40)]
    memory = FOUR_AT_ONCE._replace(settings={"policy_params": {"weights": {"a": 3.0}}})
    records, rig = inside_vllm("serving/fair", script, memory, overlapped=overlapped)
    rig.check_all_ended()
    of = tenants(records)
    started = [of[record.id] for record in records if isinstance(record, Start)][:40]
    assert started.count("a") == pytest.approx(30, abs=3)


@settings(max_examples=25, deadline=None)
@given(
    script=scripts(),
    whose=st.lists(TENANTS, min_size=14, max_size=14),
    memory=st.sampled_from([Memory(1000), Memory(12), Memory(20, max_seqs=4), Memory(1000, caching=True)]),
)
def test_decisions_are_those_of_the_world(script: list[Sent], whose: list[str], memory: Memory) -> None:
    script = [sent._replace(xargs={"headway_tenant": tenant}) for sent, tenant in zip(script, whose, strict=False)]
    inside, rig = inside_vllm("serving/fair", script, memory)
    rig.check_all_ended()
    assume(not rig.surprised)
    assert actions(inside) == actions(in_virtual_time("serving/fair", truths(inside, rig), memory))
