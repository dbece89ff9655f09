"""Rounds of play and improvement until a budget is spent: how policies that ask questions are taught."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from msgspec import Struct
from msgspec.structs import replace

from headway.app.learning.ppo import Episode, Forward, batch_of, collect, improve
from headway.app.learning.torch_ops import to_numpy, to_torch
from headway.app.learning.training import Spending, TrainNews, TrainSpec
from headway.core.learning import Asking
from headway.numerics.nets import NUMPY, NumpyWeights, Weights, log_softmax

NEVER_TRAINED = 1_000_000_000
"""Seeds from here on are kept for validation."""


class Rounds(Struct, frozen=True, kw_only=True):
    """How a policy is taught.

    Parameters
    ----------
    start : callable of (seed) -> Asking
        Begins an episode.
    num_episodes : int
        Side by side in each round, >= 1.
    num_valid : int
        Episodes on which weights are compared, always the same, >= 1.
    valid_every : int
        Rounds between two comparisons, >= 1.
    gamma, lam : float
        See `advantages`.
    scale : float
        What rewards are multiplied with, > 0, so that returns are not far from 1.
    rate : float
        The first learning rate, > 0; it falls to a tenth. Weights to go on from are taught at half of it.
    entropy : float
        The first weight of the bonus for indecision, >= 0; it falls to a tenth, too.
    epochs, minibatch : int
        See `improve`.
    """

    start: Callable[[int], Asking[float]]
    num_episodes: int = 32
    num_valid: int = 32
    valid_every: int = 20
    gamma: float = 0.99
    lam: float = 0.95
    scale: float = 0.1
    rate: float = 1e-3
    entropy: float = 0.01
    epochs: int = 3
    minibatch: int = 512


def taught(spec: TrainSpec, rounds: Rounds, forward: Forward, first: NumpyWeights) -> NumpyWeights:
    """Teach by rounds of PPO; returns the weights that did best in validation.

    Parameters
    ----------
    spec : TrainSpec
        Seed, budget and weights to go on from.
    rounds : Rounds
        What is played, and how it is learnt from.
    forward : callable
        The network.
    first : dict of str to array
        Its weights where `spec` has none.
    """
    torch.set_num_threads(1)  # networks this small get slower by more
    rng, spending = np.random.default_rng(spec.seed), Spending(spec.budget_s)
    weights = to_torch(spec.start or first)
    rate = rounds.rate * (0.5 if spec.start else 1.0)
    optimizer = torch.optim.Adam(list(weights.values()), lr=rate)
    best, best_valid, num_done, numbers = to_numpy(weights), -np.inf, 0, dict[str, float]()
    while spending.done_frac < 1:
        left = 1.0 - 0.9 * spending.done_frac
        optimizer.param_groups[0]["lr"] = rate * left
        episodes = _played(rounds, forward, to_numpy(weights), rng)
        numbers |= improve(
            weights,
            optimizer,
            forward,
            batch_of(episodes, rounds.gamma, rounds.lam),
            rng,
            entropy=rounds.entropy * left,
            epochs=rounds.epochs,
            minibatch=rounds.minibatch,
        )
        numbers["reward"] = float(np.mean([one.rewards.sum() for one in episodes])) / rounds.scale
        num_done += 1
        if num_done % rounds.valid_every == 0 or spending.done_frac >= 1:
            numbers["valid"] = valid = validated(rounds, forward, to_numpy(weights))
            if valid > best_valid:
                best, best_valid = to_numpy(weights), valid
            numbers |= {"best": best_valid, "rounds": float(num_done)}
            spec.tell(TrainNews(spending.done_frac, dict(numbers)))
    return dict(best)


def validated(rounds: Rounds, forward: Forward, weights: Weights) -> float:
    """Return the mean sum of rewards over the episodes kept for validation, taking the best choice each time."""
    return float(
        np.mean(totals([rounds.start(NEVER_TRAINED + nth) for nth in range(rounds.num_valid)], forward, weights))
    )


def totals(askings: Sequence[Asking[float]], forward: Forward, weights: Weights) -> list[float]:
    """Play askings side by side, taking the best choice each time; returns the sum of rewards of each."""
    found = [0.0] * len(askings)
    live = []
    for nth, asking in enumerate(askings):
        try:
            live.append((nth, next(asking)))
        except StopIteration as end:
            found[nth] = float(end.value)
    while live:
        features = {name: np.stack([one.features[name] for _, one in live]) for name in live[0][1].features}
        scores, _ = forward(NUMPY, weights, features)
        chosen = np.argmax(log_softmax(NUMPY, scores, np.stack([one.legal for _, one in live])), axis=1)
        following = []
        for (nth, _), choice in zip(live, chosen.tolist(), strict=True):
            try:
                question = askings[nth].send(choice)
                found[nth] += question.reward
                following.append((nth, question))
            except StopIteration as end:
                found[nth] += float(end.value)
        live = following
    return found


def _played(rounds: Rounds, forward: Forward, weights: Weights, rng: np.random.Generator) -> list[Episode]:
    seeds = rng.integers(NEVER_TRAINED, size=rounds.num_episodes).tolist()
    episodes = collect([rounds.start(seed) for seed in seeds], forward, weights, rng)
    return [replace(one, rewards=one.rewards * rounds.scale) for one in episodes]
