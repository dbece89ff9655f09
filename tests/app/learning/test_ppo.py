"""Proximal policy optimisation: bookkeeping by hand, and something learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from headway.app.learning.ppo import Episode, advantages, batch_of, collect, improve
from headway.app.learning.torch_ops import to_numpy, to_torch
from headway.core.learning import Asking, Question
from headway.numerics.nets import init_mlp, mlp

NUM_ACTIONS = 4


def forward(ops: Any, weights: Any, features: Any) -> tuple[Any, Any]:
    seen = ops.asarray(features["seen"])
    return mlp(ops, weights, "policy", seen), mlp(ops, weights, "value", seen)[..., 0]


def first_weights(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    policy = init_mlp(rng, "policy", [NUM_ACTIONS, 16, NUM_ACTIONS], last_gain=0.01)
    return policy | init_mlp(rng, "value", [NUM_ACTIONS, 16, 1])


def lesson(rng: np.random.Generator, num_steps: int = 6) -> Asking[float]:
    """Ask for the number that is shown, one other being illegal; right answers pay off one question later."""
    earned = 0.0
    for _ in range(num_steps):
        shown = int(rng.integers(NUM_ACTIONS))
        legal = np.arange(NUM_ACTIONS) != (shown + 1) % NUM_ACTIONS
        answer = yield Question({"seen": np.eye(NUM_ACTIONS, dtype=np.float32)[shown]}, legal, earned)
        assert legal[answer]
        earned = float(answer == shown)
    return earned


def silent() -> Asking[float]:
    return 1.0
    yield  # a generator without questions


def test_episodes_hold_what_was_asked_and_what_came_of_it() -> None:
    rng = np.random.default_rng(1)
    played = collect([lesson(rng, 3), silent(), lesson(rng, 5)], forward, first_weights(), rng)
    assert [(one.place, len(one.actions)) for one in played] == [(0, 3), (2, 5)]
    for one in played:
        right = one.actions == one.features["seen"].argmax(axis=1)
        assert one.rewards.tolist() == right.astype(float).tolist()
        assert one.legal.shape == (len(one.actions), NUM_ACTIONS)
        assert (one.log_probs < 0).all()


def test_draws_follow_the_network() -> None:
    """Of three legal answers with almost equal scores each is drawn a third of the time."""
    rng = np.random.default_rng(2)
    (one,) = collect([lesson(rng, 3000)], forward, first_weights(), rng)
    assert np.mean(one.actions == one.features["seen"].argmax(axis=1)) == pytest.approx(1 / 3, abs=0.03)
    assert one.log_probs == pytest.approx(-np.log(3), abs=0.1)


def test_greedy_answers_are_the_likeliest_that_are_legal() -> None:
    rng = np.random.default_rng(5)
    (one,) = collect([lesson(rng, 50)], forward, first_weights(), rng, greedy=True)
    assert (one.log_probs > -np.log(3)).all()


def episode_of(rewards: list[float], values: list[float]) -> Episode:
    num = len(rewards)
    return Episode(
        features={"seen": np.zeros((num, 1))},
        legal=np.ones((num, 2), bool),
        actions=np.zeros(num, np.int64),
        log_probs=np.zeros(num),
        values=np.array(values),
        rewards=np.array(rewards),
    )


def test_advantages_by_hand() -> None:
    gains, returns = advantages(episode_of([1.0, 2.0], [0.5, 1.5]), gamma=0.9, lam=0.8)
    last = 2.0 - 1.5
    assert gains == pytest.approx([1.0 + 0.9 * 1.5 - 0.5 + 0.9 * 0.8 * last, last])
    assert returns == pytest.approx(gains + np.array([0.5, 1.5]))


def test_with_lam_1_returns_are_sums_of_rewards() -> None:
    _, returns = advantages(episode_of([1.0, 2.0, 4.0], [9.0, 8.0, 7.0]), gamma=1.0, lam=1.0)
    assert returns == pytest.approx([7.0, 6.0, 4.0])


def test_it_learns_what_pays() -> None:
    rng = np.random.default_rng(3)
    torch.manual_seed(0)
    weights = to_torch(first_weights())
    optimizer = torch.optim.Adam(weights.values(), lr=0.01)
    for _ in range(30):
        played = collect([lesson(rng) for _ in range(32)], forward, to_numpy(weights), rng)
        numbers = improve(weights, optimizer, forward, batch_of(played), rng, minibatch=64)
    assert np.mean(np.concatenate([one.rewards for one in played])) > 0.95
    assert numbers["entropy"] < np.log(3)
    assert set(numbers) == {"loss", "value_error", "entropy", "kl"}


def test_improving_stops_when_answers_have_moved_far() -> None:
    rng = np.random.default_rng(4)
    played = batch_of(collect([lesson(rng) for _ in range(32)], forward, first_weights(), rng))
    moved = {}
    for max_kl in (0.0, np.inf):
        weights = to_torch(first_weights())
        improve(weights, torch.optim.Adam(weights.values(), lr=0.01), forward, played, rng, epochs=20, max_kl=max_kl)
        moved[max_kl] = np.abs(to_numpy(weights)["policy.1.w"] - first_weights()["policy.1.w"]).max()
    assert moved[0.0] < moved[np.inf] / 3
