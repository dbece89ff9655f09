"""Coverage of experts against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from headway.sim.serving.cost import replica
from headway.sim.serving.cost.experts import Coverage, visit_probabilities
from headway.sim.serving.price import BatchShape


def test_balanced_routing_has_the_known_closed_form() -> None:
    covered = Coverage(128, 8)
    for tokens in (1, 4, 64, 1000):
        assert covered.distinct(tokens) == pytest.approx(128 * (1 - (1 - 8 / 128) ** tokens))


@pytest.mark.parametrize("skew", [0.0, 0.5, 1.0, 2.0])
def test_a_token_visits_as_many_experts_as_it_should(skew: float) -> None:
    visited = visit_probabilities(64, 6, skew)
    assert visited.sum() == pytest.approx(6)
    assert visited.max() <= 1
    assert (np.diff(visited) <= 1e-12).all()
    assert Coverage(64, 6, skew).distinct(1) == pytest.approx(6)


def test_sampled_tokens_cover_what_was_expected() -> None:
    rng = np.random.default_rng(0)
    visited = visit_probabilities(32, 4, 1.0)
    seen = rng.random((4000, 10, 32)) < visited
    assert Coverage(32, 4, 1.0).distinct(10) == pytest.approx(seen.any(axis=1).sum(axis=1).mean(), rel=0.01)


def test_skew_covers_fewer_and_all_are_reached_in_the_end() -> None:
    assert Coverage(128, 8, 1.0).distinct(64) < Coverage(128, 8, 0.2).distinct(64) < Coverage(128, 8).distinct(64)
    assert Coverage(128, 8, 0.5).distinct(10**6) == pytest.approx(128)
    assert Coverage(4, 4, 1.0).distinct(1) == pytest.approx(4)
    assert Coverage(8, 2).distinct(0) == 0


def test_a_recipe_says_how_unevenly_tokens_visit_the_experts() -> None:
    """Published: 55% of the experts of Qwen3-30B-A3B are visited by 32 tokens, 86.3% by 128, at most 70% by 64."""
    skew = 1.17
    covered = [Coverage(128, 8, skew).distinct(tokens) / 128 for tokens in (32, 64, 128)]
    assert covered == pytest.approx([0.55, 0.70, 0.863], abs=0.03)
    shape = BatchShape(32, 32_000)
    even, fitted, uneven = (
        replica("qwen3-30b-a3b", "h100", routing_skew=one).price.step_s(shape) for one in (0.0, None, skew)
    )
    assert uneven < fitted < even
