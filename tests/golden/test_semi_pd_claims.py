"""semi-PD's claims in numbers: what was published, ours, and how far apart they are.

Source: Hong et al. 2025, arXiv 2504.19867; see `headway.app.reproduce.claims.serving_semi_pd` for the settings and
`headway reproduce serving/semi-pd` for all claims over more seeds.
"""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims import semi_pd_settings as settings
from headway.app.reproduce.claims.semi_pd_shift import shift


@functools.cache
def fitted(seed: int) -> Numbers:
    return settings.laws(seed, True)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_law_of_the_time_to_first_token_fits_as_published(seed: int) -> None:
    law = fitted(seed)["ttft-law"]
    assert law["r_squared"] == pytest.approx(0.9953, abs=0.02)
    assert 0 < law["knee"] < 0.3


@pytest.mark.parametrize("seed", [0, 1])
def test_the_law_of_the_time_per_token_fits_above_the_knee_of_the_bandwidth(seed: int) -> None:
    found = fitted(seed)
    assert found["tpot-law-above"]["r_squared"] > 0.9
    assert 0.6284 / 2 < found["tpot-law"]["scale_frac"] < 0.6284 * 2


@pytest.mark.slow
def test_the_controller_follows_a_shift_that_fixed_shares_do_not() -> None:
    found = [shift(seed, False) for seed in range(3)]
    worst = {who: sum(one[who]["worst_frac"] for one in found) / 3 for who in found[0]}
    assert worst["semi-pd"] > worst["semi-pd-100-100"] > worst["prompts-first"]


@pytest.mark.slow
def test_the_controller_carries_more_than_competing_workers_and_than_prompts_first() -> None:
    names = ("semi-pd", "semi-pd-100-100", "vllm")
    rate = {who: sum(settings.rate_per_s(who, "tight", seed, False) for seed in range(3)) for who in names}
    assert 1.0 < rate["semi-pd"] / rate["semi-pd-100-100"] < 1.11 * 2
    assert rate["semi-pd"] > rate["vllm"]


@pytest.mark.slow
def test_with_little_memory_one_memory_for_both_phases_carries_more_than_two() -> None:
    found = settings.rates("tight", settings.FEW_BLOCKS, ("semi-pd", "apart"), 0, True)
    gain = found["semi-pd"]["rate_per_s"] / found["apart"]["rate_per_s"]
    assert 1.62 / 2 < gain < 1.62 * 2
    assert gain > 1.1
