"""Sarathi-Serve's claims, in direction: prompts stall decodes when they go first, and not under a token budget.

Source: Agrawal et al. 2024, arXiv 2403.02310. Everything runs in the small serving world at the prices below, which are
round numbers and calibrated to no hardware, so only orderings and bounds are checked, never magnitudes. The paper's
ablation (its Yi-34B on two A100, openchat_sharegpt4, 128 requests, budget 1024): median TTFT and P99 TBT of 0.53 s and
0.68 s with hybrid batches only, 0.76 s and 0.14 s with chunks as well.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import pytest
from msgspec import Struct

from headway.core.drivers import simulate
from headway.core.session import Session
from headway.policies.serving.accounts import RequestAccounts
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import Batch
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.policies.serving.vllm import Vllm
from headway.sim.serving.gaps import TokenGaps
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld

PRICE = LinearPrice(fixed_s=8e-3, prefill_token_s=1e-4, decode_s=5e-5, context_token_s=5e-8)
DECODES, DECODE_PROMPT, DECODE_OUTPUT = 16, 64, 400


class Felt(Struct, frozen=True):
    """What the senders felt, in seconds."""

    p50_ttft_s: float
    p99_itl_s: float
    max_itl_s: float


def felt(seat: Batch, requests: Sequence[TrueRequest]) -> Felt:
    gaps, accounts = TokenGaps(), RequestAccounts()
    world = ServingWorld(requests, [InstanceState("gpu", BlockPool(20_000), num_layers=32)], PRICE, gaps=gaps)
    policy = Stack(batch=seat)
    numbers = simulate(world, policy, session=Session(policy, world.view, accounts=accounts)).numbers
    assert world.num_left == 0
    return Felt(numbers["p50_ttft_s"], gaps.itl_s.at(0.99), gaps.itl_s.max)


def one_long_prompt(prompt_tokens: int) -> list[TrueRequest]:
    """Sixteen requests that decode, and a long prompt that comes between."""
    short = [
        Request(id=f"short{n}", arrival_s=0.0, prompt_tokens=DECODE_PROMPT, max_tokens=DECODE_OUTPUT)
        for n in range(DECODES)
    ]
    late = Request(id="long", arrival_s=1.5, prompt_tokens=prompt_tokens, max_tokens=10)
    return [TrueRequest(request=request, output_tokens=request.max_tokens) for request in [*short, late]]


def step_bound_s(budget: int, prompt_tokens: int) -> float:
    """What the dearest step within a token budget costs, when everybody is at the end of all they have."""
    contexts = DECODES * (DECODE_PROMPT + DECODE_OUTPUT) + prompt_tokens
    dearest_token_s = max(PRICE.prefill_token_s, PRICE.decode_s)
    return PRICE.fixed_s + budget * dearest_token_s + contexts * PRICE.context_token_s


def test_a_stall_grows_with_the_prompt_under_prefill_first_batching() -> None:
    longest_s = [felt(Vllm(), one_long_prompt(prompt)).max_itl_s for prompt in (1024, 2048, 4096, 8192)]
    for shorter_s, longer_s in itertools.pairwise(longest_s):
        assert longer_s > 1.8 * shorter_s  # all but the fixed cost of a step is in proportion to the prompt
    assert longest_s[-1] >= 8192 * PRICE.prefill_token_s


@pytest.mark.parametrize("budget", [128, 512, 2048])
def test_the_longest_gap_is_bounded_by_the_budget_whatever_the_prompt(budget: int) -> None:
    for prompt in (1024, 2048, 4096, 8192):
        assert felt(SarathiServe(token_budget=budget), one_long_prompt(prompt)).max_itl_s <= step_bound_s(
            budget, prompt
        )


def test_gaps_grow_with_the_budget_and_a_small_one_makes_first_tokens_late() -> None:
    """The sweep is monotone in the gaps; TTFT has a minimum in the middle, so only its left end is checked."""
    by_budget = [felt(SarathiServe(token_budget=budget), openchat(0)) for budget in (256, 512, 1024, 2048)]
    for smaller, larger in itertools.pairwise(by_budget):
        assert smaller.p99_itl_s < larger.p99_itl_s
    assert by_budget[0].p50_ttft_s > by_budget[1].p50_ttft_s > by_budget[2].p50_ttft_s


@functools.cache
def openchat(seed: int) -> tuple[TrueRequest, ...]:
    """Lengths with the medians of openchat_sharegpt4 (prompt 1730, output 415), at a rate that keeps it busy."""
    source = RandomRequests(
        num_requests=128,
        rate_per_s=2.5,
        prompt_tokens=1730,
        output_tokens=415,
        max_prompt_tokens=7000,
        max_tokens=1190,
        num_prefixes=0,
    )
    return tuple(source.draw(seed))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_chunks_trade_a_little_ttft_for_much_shorter_gaps(seed: int) -> None:
    hybrid_only = felt(SarathiServe(token_budget=1_000_000), openchat(seed))  # whole prompts beside decodes
    both = felt(SarathiServe(token_budget=1024), openchat(seed))
    assert hybrid_only.p50_ttft_s < both.p50_ttft_s
    assert both.p99_itl_s < hybrid_only.p99_itl_s
    assert both.max_itl_s < hybrid_only.max_itl_s


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_prefill_first_has_the_longest_gaps(seed: int) -> None:
    prefill_first = felt(Vllm(max_batched_tokens=8192), openchat(seed))
    both = felt(SarathiServe(token_budget=1024), openchat(seed))
    assert both.p99_itl_s < prefill_first.p99_itl_s
    assert both.max_itl_s < prefill_first.max_itl_s
