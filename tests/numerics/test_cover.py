"""The cheapest containers for given items."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.numerics.cover import cheapest_cover


@pytest.mark.parametrize("seed", range(8))
def test_it_is_as_cheap_as_the_best_of_all_assignments(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares, costs = rng.uniform(0.05, 0.9, (7, 3)), rng.uniform(1.0, 3.0, 3)
    shares[rng.random(shares.shape) < 0.2] = np.inf
    shares[:, 0] = np.minimum(shares[:, 0], 2.0)
    best = np.inf
    for kinds in itertools.product(range(3), repeat=7):
        taken = np.bincount(kinds, weights=shares[np.arange(7), kinds], minlength=3)
        if np.isfinite(taken).all():
            best = min(best, float(costs @ np.ceil(taken - 1e-9)))
    counts, found = cheapest_cover(shares, costs)
    taken = np.bincount(found, weights=shares[np.arange(7), found], minlength=3)
    assert (taken <= counts + 1e-6).all()
    assert costs @ counts == pytest.approx(best, rel=1e-3)


def test_an_item_that_fits_nowhere_is_told() -> None:
    with pytest.raises(ConfigError, match="item 1 does not"):
        cheapest_cover(np.array([[0.5], [np.inf]]), np.array([1.0]))
