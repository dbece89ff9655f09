"""LoRAFusion's claims in numbers: what was published, ours, and how far apart they are.

Source: Zhu et al. 2025, arXiv 2510.00206; see `headway.app.reproduce.claims.tuning_lorafusion` for the settings and
`headway reproduce tuning/lorafusion` for all claims over more seeds.
"""

from __future__ import annotations

import functools
import os

import pytest

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims import lorafusion_live as live
from headway.app.reproduce.claims import lorafusion_settings as settings


@functools.cache
def gains(seed: int) -> Numbers:
    return settings.gains(seed, False)


@pytest.mark.parametrize("seed", [0, 1])
def test_gains_over_one_by_one_and_over_turns_are_of_the_published_size(seed: int) -> None:
    ours = gains(seed)["lorafusion"]
    assert ours["mean_gain_over_one-by-one"] == pytest.approx(1.47, abs=0.25)
    assert ours["most_gain_over_one-by-one"] == pytest.approx(1.96, abs=0.25)
    assert ours["mean_gain_over_mlora"] == pytest.approx(1.29, abs=0.25)
    assert ours["most_gain_over_mlora"] == pytest.approx(1.46, abs=0.25)


@pytest.mark.parametrize("seed", [0, 1])
def test_bubbles_shrink_from_one_by_one_to_turns_to_packing(seed: int) -> None:
    found = gains(seed)
    assert found["lorafusion"]["bubble_frac"] < found["mlora"]["bubble_frac"] < found["one-by-one"]["bubble_frac"]


def test_merging_is_what_matters_most_beside_packing() -> None:
    found = settings.parts(0, True)
    speed = {who: numbers["tokens_per_s"] for who, numbers in found.items()}
    assert speed["no-merging"] < 0.97 * speed["lorafusion"]
    assert speed["greedy"] == pytest.approx(speed["lorafusion"], rel=0.03)


def test_a_longer_pipeline_stays_full() -> None:
    found = settings.stages(0, True)
    for num in (2, 4, 8):
        assert found["lorafusion"][f"{num}_stages_bubble_frac"] < 0.1
        assert found["one-by-one"][f"{num}_stages_bubble_frac"] > 0.1


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_function_moves_about_as_much_less_as_published(dropout: float) -> None:
    found = live.moved(0, 512, 256, dropout)
    saved = 1 - found["fused"]["moved_bytes"] / found["peft"]["moved_bytes"]
    assert saved == pytest.approx(0.355, abs=0.1)
    if dropout:
        assert found["fused"]["kept_bytes"] < found["peft"]["kept_bytes"] / 4


@pytest.mark.slow
@pytest.mark.skipif(os.getloadavg()[0] > 3, reason="a busy machine tells nothing about speed")
def test_four_adapters_at_once_are_faster_than_one_after_the_other() -> None:
    found = live.shipped(0, True)
    assert found["lorafusion"]["tokens_per_s"] > 1.1 * found["trainer"]["tokens_per_s"]
    assert found["lorafusion"]["agreeing_digits"] > 4
