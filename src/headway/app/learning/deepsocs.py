"""How DeepSoCS is taught: by runs of one stream of jobs held against each other, with a baseline that runs with time.

As published, returns are compared with the mean over runs of the same stream at the same time. Changed: each set of
runs is used for several clipped steps (those of PPO) instead of one of REINFORCE, which learns the same from fewer
runs; the reward is zero in the mean (see `Earned`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from msgspec import Struct

from headway.app.learning.ppo import Batch, Episode, collect, improve
from headway.app.learning.training import Spending, TrainNews, TrainSpec
from headway.core.drivers import simulate
from headway.core.nouns import Seconds
from headway.numerics.nets import NumpyWeights
from headway.policies.shop.deepsocs import DeepSocs
from headway.policies.shop.deepsocs_net import first_weights, forward
from headway.policies.shop.heft import Heft
from headway.policies.shop.soc_nouns import Application
from headway.sim.shop.episodes import AskingPolicy, episode
from headway.sim.shop.soc_applications import Chip, radio_applications, radio_chip, top, top_chip
from headway.sim.shop.soc_episodes import Earned
from headway.sim.shop.soc_world import SocWorld, stream

Floats = npt.NDArray[np.float64]

ROLLOUTS = 8
"""So many runs of one stream are held against each other."""
NUM_JOBS = 16
GAMMA = 0.98
RATE = 2e-3
ENTROPY = 0.03
NOISES = (0.0, 0.2, 0.5)
VALIDATE_EVERY = 25
VALID_JOBS = 60


class Setting(Struct, frozen=True):
    """What is played while training: a chip, applications, a range of mean gaps, the most tasks of a job, how often."""

    chip: Chip
    applications: tuple[Application, ...]
    scales_s: tuple[Seconds, Seconds]
    max_tasks: int
    share: float


class Played(Struct, frozen=True):
    """One run: its steps, and when each question was put."""

    episode: Episode
    at_s: Floats


def train(spec: TrainSpec) -> NumpyWeights:
    """Teach within the budget; returns the weights that did best on streams apart."""
    rng, spending = np.random.default_rng(spec.seed), Spending(spec.budget_s)
    torch.manual_seed(spec.seed)
    first = spec.start or first_weights(rng)
    weights = {name: torch.tensor(array, requires_grad=True) for name, array in first.items()}
    optimizer = torch.optim.Adam(list(weights.values()), lr=RATE)
    best, least, number = first, validated(first), 0
    while not number or spending.done_frac < 1:
        left = 1.0 - spending.done_frac
        for group in optimizer.param_groups:
            group["lr"] = RATE * max(left, 0.1)
        batch = _batch(_rollouts(_numpy(weights), rng))
        improve(weights, optimizer, forward, batch, rng, minibatch=len(batch), entropy=ENTROPY * left, value=0.0)
        number += 1
        if number % VALIDATE_EVERY == 0 or spending.done_frac >= 1:
            now = _numpy(weights)
            valid = validated(now)
            best, least = (now, valid) if valid < least else (best, least)
            spec.tell(TrainNews(spending.done_frac, {"valid": valid, "best": least, "updates": float(number)}))
    return best


def settings() -> tuple[Setting, ...]:
    """Return what is played."""
    radio = radio_chip()
    return (
        Setting(top_chip(), (top(),), (20.0, 60.0), 10, 0.85),
        Setting(radio, radio_applications(radio), (60.0, 300.0), 32, 0.15),
    )


def validated(weights: NumpyWeights) -> float:
    """Mean time of a job on streams apart, over that of the rule that is hardest to beat (ETF that holds)."""
    shares = []
    for setting in settings():
        for seed, scale_s in enumerate(setting.scales_s):
            for noise in NOISES[:2]:
                ours = _Greedy(weights, setting.max_tasks)
                took = [
                    _mean_s(setting, 10_000 + seed, scale_s, noise, policy, VALID_JOBS)
                    for policy in (ours, Heft(rule="etf", hold=True))
                ]
                shares.append(took[0] / took[1])
    return float(np.mean(shares))


class _Greedy(DeepSocs):
    """The policy with weights at hand instead of those of a file."""

    def __init__(self, weights: NumpyWeights, max_tasks: int) -> None:
        super().__init__(max_tasks=max_tasks)
        self._at_hand = weights

    def choose(self, question: Any) -> int:
        """Return the legal action with the highest score."""
        from headway.numerics.nets import NUMPY

        scores, _ = forward(NUMPY, self._at_hand, {name: one[None] for name, one in question.features.items()})
        return int(np.argmax(np.where(question.legal, scores[0], -np.inf)))


def _mean_s(setting: Setting, seed: int, scale_s: Seconds, noise: float, policy: Any, num_jobs: int) -> Seconds:
    world = _world(setting, seed, scale_s, noise, num_jobs)
    simulate(world, policy)
    return float(np.mean(list(world.took_s.values())))


def _world(setting: Setting, seed: int, scale_s: Seconds, noise: float, num_jobs: int) -> SocWorld:
    jobs = stream(setting.applications, seed, num_jobs=num_jobs, scale_s=scale_s, noise=noise)
    return SocWorld(jobs, setting.chip)


def _rollouts(weights: NumpyWeights, rng: np.random.Generator) -> list[Played]:
    """Play one stream several times."""
    known = settings()
    setting = known[int(rng.choice(len(known), p=[one.share for one in known]))]
    seed, noise = int(rng.integers(2**31)), float(rng.choice(NOISES))
    scale_s = float(rng.uniform(*setting.scales_s))
    usual_s = _mean_s(setting, seed, scale_s, noise, Heft(rule="etf", hold=True), NUM_JOBS)
    worlds = [_world(setting, seed, scale_s, noise, NUM_JOBS) for _ in range(ROLLOUTS)]
    clocks = [Earned(usual_s) for _ in worlds]
    policies: list[AskingPolicy[Any]] = [DeepSocs(max_tasks=setting.max_tasks) for _ in worlds]
    askings = [episode(*one) for one in zip(worlds, policies, clocks, strict=True)]
    episodes = collect(askings, forward, weights, rng)
    # The clock was read once before the first question, and once after the last.
    return [Played(one, np.array(clock.at_s[1:-1])) for one, clock in zip(episodes, clocks, strict=True)]


def _batch(played: Sequence[Played]) -> Batch:
    """Put all runs of a stream together, with what each choice brought against the other runs."""
    episodes = [one.episode for one in played]
    gains = np.concatenate(list(advantages(played)))
    return Batch(
        features={name: np.concatenate([one.features[name] for one in episodes]) for name in episodes[0].features},
        legal=np.concatenate([one.legal for one in episodes]),
        actions=np.concatenate([one.actions for one in episodes]),
        log_probs=np.concatenate([one.log_probs for one in episodes]),
        advantages=gains / (gains.std() + 1e-8),
        returns=gains,
    )


def advantages(played: Sequence[Played], gamma: float = GAMMA) -> Iterator[Floats]:
    """Yield by how much each return of each run exceeds the mean over runs, drawn out over time between questions."""
    returns = [_returns(one.episode.rewards, gamma) for one in played]
    for one, worth in zip(played, returns, strict=True):
        others = [np.interp(one.at_s, run.at_s, back) for run, back in zip(played, returns, strict=True)]
        yield worth - np.mean(others, axis=0)


def _returns(rewards: Any, gamma: float) -> Floats:
    found, carried = np.empty(len(rewards)), 0.0
    for step in range(len(rewards) - 1, -1, -1):
        found[step] = carried = float(rewards[step]) + gamma * carried
    return found


def _numpy(weights: dict[str, torch.Tensor]) -> NumpyWeights:
    return {name: tensor.detach().numpy().copy() for name, tensor in weights.items()}
