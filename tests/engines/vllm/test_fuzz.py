"""Whatever comes, in whatever order: nothing is lost, nothing comes twice, everything ends."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (make vllm)")

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from engines.vllm.books import watch
from engines.vllm.rig import HOSTED, Rig
from engines.vllm.scripts import prompts
from engines.vllm.twins import PRICE
from headway.core import catalogue
from headway.engines.vllm.asks import read_rejection
from headway.engines.vllm.settings import CAN

POLICIES = [
    row.id for row in catalogue.rows("serving") if row.id != "serving/oracle" and not catalogue.needs(row.id) - CAN
]
"""All that can be hosted; the oracle decides by what nobody can know."""


class Add(NamedTuple):
    """A request comes."""

    prompt: Sequence[int]
    max_tokens: int
    stops_at: int | None
    priority: int
    xargs: Mapping[str, Any]


class Cancel(NamedTuple):
    """Nobody waits for a request any more; some requests have ended by then."""

    index: int


class Steps(NamedTuple):
    """vLLM goes on."""

    num: int


XARGS = st.fixed_dictionaries(
    {},
    optional={
        "headway_ttft_s": st.sampled_from([0.01, 0.05, 1.0]),
        "headway_tpot_s": st.sampled_from([0.01, 0.02, 1.0]),
        "headway_deadline_s": st.sampled_from([0.1, 10.0]),
        "headway_priority": st.integers(-1, 2),
        "headway_tenant": st.sampled_from(["a", "b"]),
        "headway_session": st.sampled_from(["s", "t"]),
        "headway_tool": st.sampled_from(["search", "python"]),
    },
)
ADDS = st.builds(Add, prompts(100), st.integers(1, 80), st.none() | st.integers(1, 40), st.integers(-1, 1), XARGS)
HAPPENINGS = st.lists(
    st.one_of(ADDS, ADDS, st.builds(Cancel, st.integers(0, 20)), st.builds(Steps, st.integers(1, 12))),
    min_size=1,
    max_size=40,
)


class Setup(NamedTuple):
    """An engine."""

    num_blocks: int
    caching: bool
    overlapped: bool
    max_seqs: int
    max_batched_tokens: int
    tokens_with_new: bool


SETUPS = st.builds(
    Setup,
    num_blocks=st.sampled_from([12, 20, 60]),
    caching=st.booleans(),
    overlapped=st.booleans(),
    max_seqs=st.sampled_from([2, 5, 64]),
    max_batched_tokens=st.sampled_from([64, 2048]),
    tokens_with_new=st.booleans(),
)


def play(rig: Rig, happenings: Sequence[Add | Cancel | Steps]) -> None:
    for happening in happenings:
        names = list(rig.told)
        if isinstance(happening, Steps):
            for _ in range(happening.num):
                rig.step()
        elif isinstance(happening, Add):
            prompt = happening.prompt[: rig.config.model_config.max_model_len - 1]
            name = f"r{len(names):02}"
            rig.add(name, prompt, happening.max_tokens, happening.stops_at, happening.priority, happening.xargs)
        elif happening.index < len(names):
            rig.cancel(names[happening.index])
    rig.run()


def check_ends(rig: Rig) -> None:
    rig.check_all_ended()
    for told in rig.told.values():
        if told.finish == "abort":
            assert read_rejection(told.stop_reason) is not None


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=15, deadline=None)
@given(setup=SETUPS, happenings=HAPPENINGS)
def test_everything_ends_once(policy: str, setup: Setup, happenings: list[Add | Cancel | Steps]) -> None:
    rig = Rig(HOSTED, price=PRICE, headway={"policy": policy}, **setup._asdict())
    watch(rig, policy)
    play(rig, happenings)
    check_ends(rig)
