"""Speculative decoding in virtual time: what a step that drafts tokens gives, takes and costs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Action, Move, Start, Wake
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Event, Refused
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, Request, RequestFinished, Step, StepDone
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.cost.replica import replica
from headway.sim.serving.gaps import TokenGaps
from headway.sim.serving.price import BatchShape, Chunk, LinearPrice
from headway.sim.serving.recipe import ModelSpec
from headway.sim.serving.speculation import Speculation
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld

SECOND = LinearPrice(fixed_s=1.0, prefill_token_s=0.0, decode_s=0.0, context_token_s=0.0)


class Drafting:
    """Starts every request at once and drafts for all that decode."""

    def __init__(self, num: int) -> None:
        self.num = num
        self.refused: list[str] = []

    def reset(self, rng: np.random.Generator) -> None:
        self.started: set[str] = set()

    def decide(self, event: Event, view: ServingView) -> Iterator[Action]:
        if isinstance(event, Refused):
            self.refused.append(event.why)
            return
        gpu = view.instances["gpu"]
        for name, state in view.unrouted.items():
            yield Move(name, "gpu")
            yield Start(name, {"gpu": {"kv_tokens": state.known_tokens}})
            yield Wake(view.now_s, "begin")
        if gpu.running and not gpu.busy:
            pieces = tuple(Piece(state.id, state.left_tokens) for state in gpu.running.values())
            drafts = {state.id: self.num for state in gpu.running.values() if state.decoding}
            yield Step(instance="gpu", pieces=pieces, speculate=drafts if self.num else {})


def played(
    acceptance_frac: float, num: int, outputs: tuple[int, ...] = (10,), *, draft_s: float = 0.0, blocks: int = 64
) -> tuple[list[Event], TokenGaps, InstanceState]:
    requests = [
        TrueRequest(
            request=Request(id=f"r{number}", arrival_s=0.0, prompt_tokens=20, max_tokens=50), output_tokens=output
        )
        for number, output in enumerate(outputs)
    ]
    gpu, gaps = InstanceState("gpu", BlockPool(blocks), num_layers=4), TokenGaps()
    speculation = Speculation(acceptance_frac=acceptance_frac, draft_s=draft_s, seed=3)
    world = ServingWorld(requests, [gpu], SECOND, gaps=gaps, speculation=speculation)
    policy, trace = Drafting(num), MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert not policy.refused
    return [record for record in trace.records if isinstance(record, Event)], gaps, gpu


def finished(events: list[Event]) -> list[RequestFinished]:
    return [event for event in events if isinstance(event, RequestFinished)]


def test_a_perfect_draft_gives_all_drafted_tokens_and_one_more() -> None:
    events, gaps, gpu = played(1.0, num=2)
    (end,) = finished(events)
    assert end.output_tokens == 10
    assert end.e2e_s == 4.0  # one token with the prompt, then three steps of three
    assert [event.num_tokens for event in events if isinstance(event, StepDone)] == [20, 3, 3, 3]
    assert gaps.itl_s.count == 9
    assert gaps.itl_s.mean == pytest.approx(3 / 9)
    assert gpu.kv.num_free == gpu.kv.num_blocks


def test_a_useless_draft_gives_one_token_a_step_and_still_costs() -> None:
    (end,) = finished(played(0.0, num=2, draft_s=0.25)[0])
    assert end.e2e_s == 1.0 + 9 * (1.0 + 2 * 0.25)


def test_nobody_is_given_more_than_its_output() -> None:
    (end,) = finished(played(1.0, num=7, outputs=(4,))[0])
    assert (end.output_tokens, end.e2e_s) == (4, 2.0)


def test_tokens_come_at_the_expected_rate() -> None:
    events = played(0.7, num=3, outputs=(50,) * 40, blocks=400)[0]
    num_decode_tokens = sum(end.output_tokens - 1 for end in finished(events))
    num_checks = sum(event.num_tokens for event in events if isinstance(event, StepDone)) - 40 * 20
    per_check = num_decode_tokens / (num_checks / 4)
    assert per_check == pytest.approx((1 - 0.7**4) / (1 - 0.7), rel=0.1)


def test_what_is_guessed_does_not_depend_on_who_asks() -> None:
    state = RequestState(Request(id="r", arrival_s=0.0, prompt_tokens=4, max_tokens=8))
    one, other = (Speculation(acceptance_frac=0.5, seed=1) for _ in range(2))
    longest = one.accepted(state, 20)
    assert [other.accepted(state, num) for num in (1, 5, 20)] == [min(num, longest) for num in (1, 5, 20)]


@given(st.floats(0, 1), st.integers(1, 6), st.lists(st.integers(1, 50), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_all_outputs_come_whole_and_memory_comes_back(frac: float, num: int, outputs: list[int]) -> None:
    events, gaps, gpu = played(frac, num, tuple(outputs))
    assert sorted(end.output_tokens for end in finished(events)) == sorted(outputs)
    assert gaps.itl_s.count == sum(outputs) - len(outputs)
    assert gpu.kv.num_free == gpu.kv.num_blocks


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (Step(instance="gpu", pieces=(Piece("r0", 20),), speculate={"r0": 1}), "not due an output token"),
        (Step(instance="gpu", pieces=(Piece("r0", 20),), speculate={"r1": 1}), "of the step only"),
        (Step(instance="gpu", pieces=(Piece("r0", 20),), speculate={"r0": 0}), "at least one"),
    ],
)
def test_impossible_drafts_are_refused(step: Step, why: str) -> None:
    request = TrueRequest(
        request=Request(id="r0", arrival_s=0.0, prompt_tokens=20, max_tokens=5), output_tokens=2
    )  # fmt: skip
    world = ServingWorld(
        [request],
        [InstanceState("gpu", BlockPool(8), num_layers=4)],
        SECOND,
        speculation=Speculation(acceptance_frac=0.5),
    )
    world.next()
    assert world.apply(Move("r0", "gpu")) is None
    assert world.apply(Start("r0", {"gpu": {"kv_tokens": 20}})) is None
    assert why in (world.apply(step) or "")


def test_a_world_without_a_draft_model_cannot_speculate() -> None:
    world = ServingWorld([], [InstanceState("gpu", BlockPool(8), num_layers=4)], SECOND)
    assert "speculate" not in world.view.can


def test_checking_drafted_tokens_costs_less_than_decoding_them_apart() -> None:
    price = replica("opt-13b", "a100-40gb-sxm", tensor_parallel=2).price
    alone, drafted = BatchShape(8, 8000), BatchShape(8, 8000, drafted_tokens=24)
    assert price.step_s(alone) < price.step_s(drafted) < 1.2 * price.step_s(alone)
    chunk = (Chunk(256, 0),)
    assert price.step_s(BatchShape(8, 8000, chunk)) < price.step_s(BatchShape(8, 8000, chunk, drafted_tokens=24))


@pytest.mark.parametrize("frac", [-0.1, 1.5])
def test_shares_out_of_range_are_refused(frac: float) -> None:
    with pytest.raises(ConfigError, match=r"acceptance_frac must be in \[0, 1\]"):
        Speculation(acceptance_frac=frac)
    with pytest.raises(ConfigError, match=r"acceptance_frac must be in \[0, 1\]"):
        ModelSpec(acceptance_frac=frac)
