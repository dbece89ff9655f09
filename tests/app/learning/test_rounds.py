"""Rounds of play: what is learnt beats what one began with, in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from headway.app.learning.rounds import Rounds, taught, totals
from headway.app.learning.training import TrainNews, TrainSpec
from headway.core.learning import Asking, Question
from headway.numerics.nets import Array, NumpyWeights, Ops, Weights, init_mlp, mlp


def guess(seed: int) -> Asking[float]:
    """Name the largest of three numbers, eight times."""
    rng, came = np.random.default_rng(seed), 0.0
    for _ in range(8):
        seen = rng.normal(size=3)
        choice = yield Question({"seen": seen.astype(np.float32)}, np.array([True] * 3), came)
        came = float(choice == int(np.argmax(seen)))
    return came


def forward(ops: Ops, weights: Weights, features: Weights) -> tuple[Array, Array]:
    seen = ops.asarray(features["seen"])
    return mlp(ops, weights, "score", seen), mlp(ops, weights, "value", seen)[:, 0]


def first() -> NumpyWeights:
    rng = np.random.default_rng(0)
    return init_mlp(rng, "score", (3, 16, 3), 0.01) | init_mlp(rng, "value", (3, 1))


def test_it_learns_within_its_budget_and_keeps_the_best() -> None:
    news: list[TrainNews] = []
    rounds = Rounds(start=guess, num_valid=16, valid_every=4, scale=1.0, rate=1e-2, minibatch=128)
    weights = taught(TrainSpec(seed=0, budget_s=2.0, tell=news.append), rounds, forward, first())
    seeds = range(100)
    before, after = (np.mean(totals([guess(seed) for seed in seeds], forward, one)) for one in (first(), weights))
    assert after > before + 2.0
    assert news[-1].done_frac == pytest.approx(1.0)
    assert news[-1].numbers["best"] == max(one.numbers["valid"] for one in news)


def test_totals_are_those_of_each_asking() -> None:
    alone = [totals([guess(seed)], forward, first())[0] for seed in range(5)]
    assert totals([guess(seed) for seed in range(5)], forward, first()) == alone
