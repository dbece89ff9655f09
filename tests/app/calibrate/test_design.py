from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from headway.app.calibrate.design import Design


@settings(max_examples=40, deadline=None)
@given(
    context=st.integers(64, 8192),
    kv=st.integers(1024, 100_000),
    seqs=st.integers(1, 128),
    budget=st.sampled_from([128, 512, 1024, 2048]),
    seed=st.integers(0, 99),
)
def test_every_burst_fits(context: int, kv: int, seqs: int, budget: int, seed: int) -> None:
    names = set()
    for burst in Design(context, kv, seqs, budget, seed).round():
        assert all(one.input_tokens >= 1 and one.output_tokens >= 1 for one in burst)
        assert all(one.input_tokens + one.output_tokens <= context for one in burst)
        names |= {one.id for one in burst}
        held = sum(one.input_tokens + one.output_tokens + 16 for one in burst)  # rounded up to blocks
        assert held <= kv or len(burst) <= 3
    assert len(names) >= 30


def test_a_round_has_decodes_of_all_batches_prompts_of_all_lengths_and_piles() -> None:
    bursts = list(Design(4096, 65_536, 64, 1024).round())
    batches = {len(burst) for burst in bursts}
    assert {1, 2, 4, 8, 16, 32, 64} <= batches
    singles = [burst[0].input_tokens for burst in bursts if len(burst) == 1 and burst[0].output_tokens == 1]
    assert min(singles) <= 8
    assert max(singles) > 0.85 * 1024
    assert any(sum(one.input_tokens for one in burst) > 2 * 1024 for burst in bursts)


def test_rounds_differ_and_seeds_repeat() -> None:
    design = Design(4096, 65_536, 64, 1024, seed=3)
    first, second = list(design.round()), list(design.round())
    assert first != second
    assert first == list(Design(4096, 65_536, 64, 1024, seed=3).round())
