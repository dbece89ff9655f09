"""How the dispatching rule of shops without buffers is taught: drawn shops, several runs of each, PPO.

Runs of one shop meet the same interruptions, so that what tells them apart is what was chosen: the advantage of a run
is by how much its makespan is below the mean of its shop's. Per-step rewards and a value (``"value"``) are the
publication's way as far as it is known; over the few genuine choices that such a shop leaves, their noise is larger:
after 25 rounds of equal size they came to 1.005 times the makespans of most work remaining, runs of one shop to 0.977.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
import torch
from msgspec import Struct
from msgspec.structs import replace

from headway.app.learning.ppo import Batch, Episode, batch_of, collect, improve
from headway.app.learning.torch_ops import to_numpy, to_torch
from headway.app.learning.training import Spending, TrainNews, TrainSpec
from headway.core.drivers import simulate
from headway.core.learning import Asking
from headway.numerics.nets import NumpyWeights, Weights
from headway.policies.shop.blocking_rule import BlockingRule
from headway.policies.shop.isbjssp_gnn import IsbjsspGnn
from headway.policies.shop.isbjssp_net import first_weights, forward
from headway.sim.shop.blocking_instances import random_world
from headway.sim.shop.blocking_world import BlockingWorld
from headway.sim.shop.episodes import episode

FOR_VALIDATION = 1_000_000_000
"""Seeds from here on are not trained on."""


class Lesson(Struct, frozen=True, kw_only=True):
    """What is played, and how it is learnt from.

    Parameters
    ----------
    least, most : int
        Jobs and machines of drawn shops, each as likely; 5 and 9.
    most_failing : float
        The largest probability of an interruption, drawn between 0 and this; 0.2.
    num_shops, num_runs : int
        Shops in a round, and runs of each; 64 and 8.
    advantage : str
        ``"group"``: against other runs of the shop. ``"value"``: against what the network expected.
    rate, entropy : float
        Learning rate and bonus for indecision at the beginning; both fall to a tenth.
    epochs, minibatch : int
        See `ppo.improve`.
    every : int
        Rounds between two validations.
    """

    least: int = 5
    most: int = 9
    most_failing: float = 0.2
    num_shops: int = 64
    num_runs: int = 8
    advantage: Literal["group", "value"] = "group"
    rate: float = 5e-4
    entropy: float = 0.1
    epochs: int = 2
    minibatch: int = 512
    every: int = 25


class _Shop(Struct, frozen=True):
    """A shop that can be played again and again."""

    seed: int
    num_jobs: int
    num_machines: int
    fail_prob: float

    def world(self) -> BlockingWorld:
        """Make it anew."""
        return random_world(self.seed, self.num_jobs, self.num_machines, self.fail_prob)


def train(spec: TrainSpec) -> NumpyWeights:
    """Teach within the budget; returns the weights that did best on shops apart."""
    return taught(spec, Lesson())


def taught(spec: TrainSpec, lesson: Lesson) -> NumpyWeights:
    """Teach as a lesson says; see `train`."""
    torch.set_num_threads(1)  # networks this small get slower by more
    rng, spending = np.random.default_rng(spec.seed), Spending(spec.budget_s)
    weights = to_torch(spec.start or first_weights(rng))
    optimizer = torch.optim.Adam(list(weights.values()), lr=lesson.rate)
    yardstick = _yardstick()
    best, least, numbers, nth = dict(to_numpy(weights)), np.inf, dict[str, float](), 0
    is_over = False
    while not is_over:
        left = 1.0 - 0.9 * spending.done_frac
        optimizer.param_groups[0]["lr"] = lesson.rate * left
        numbers |= _round(weights, optimizer, lesson, lesson.entropy * left, rng)
        nth, is_over = nth + 1, spending.done_frac >= 1
        if nth % lesson.every == 0 or is_over:
            numbers["valid"] = valid = validated(to_numpy(weights), yardstick)
            if valid < least:
                best, least = dict(to_numpy(weights)), valid
            spec.tell(TrainNews(spending.done_frac, numbers | {"best": least, "rounds": float(nth)}))
    return best


def validated(weights: Weights, yardstick: dict[_Shop, float]) -> float:
    """Return the makespan over that of most work remaining, a mean over the shops kept for validation."""
    found: list[float] = []
    for size in dict.fromkeys((shop.num_jobs, shop.num_machines) for shop in yardstick):
        shops = [shop for shop in yardstick if (shop.num_jobs, shop.num_machines) == size]
        worlds, askings = _begun(shops, 1)
        collect(askings, forward, weights, np.random.default_rng(0), greedy=True)
        found += [world.makespan_s / yardstick[shop] for shop, world in zip(shops, worlds, strict=True)]
    return float(np.mean(found))


def _round(
    weights: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    lesson: Lesson,
    entropy: float,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Play shops of one size, and improve."""
    num_jobs, num_machines = (int(rng.integers(lesson.least, lesson.most + 1)) for _ in range(2))
    shops = [
        _Shop(int(rng.integers(FOR_VALIDATION)), num_jobs, num_machines, float(rng.uniform(0, lesson.most_failing)))
        for _ in range(lesson.num_shops)
    ]
    worlds, askings = _begun(shops, lesson.num_runs)
    played = collect(askings, forward, to_numpy(weights), rng)
    if not played:  # small shops may leave no choice
        return {}
    found = improve(
        weights,
        optimizer,
        forward,
        _grouped(played, worlds, lesson.num_runs) if lesson.advantage == "group" else batch_of(played),
        rng,
        entropy=entropy,
        value=0.0 if lesson.advantage == "group" else 0.5,
        epochs=lesson.epochs,
        minibatch=lesson.minibatch,
    )
    return found | {"makespan_s": float(np.mean([world.makespan_s for world in worlds]))}


def _begun(shops: Sequence[_Shop], num_runs: int) -> tuple[list[BlockingWorld], list[Asking[float]]]:
    """Return worlds, and the askings that play them; the runs of a shop stand together."""
    worlds = [shop.world() for shop in shops for _ in range(num_runs)]
    return worlds, [episode(world, IsbjsspGnn(), _reward) for world in worlds]


def _reward(world: BlockingWorld) -> float:
    """Return what has come in: minus one per job that waits and unit of time, scaled to be near one in the end."""
    return -world.waited_s / (50.0 * len(world.starts) * len(world.view.machines))


def _grouped(played: Sequence[Episode], worlds: Sequence[BlockingWorld], num_runs: int) -> Batch:
    """Return a batch in which every choice of a run has its advantage over the other runs of its shop."""
    makespans = np.array([world.makespan_s for world in worlds]).reshape(-1, num_runs)
    gains = 1.0 - makespans / makespans.mean(axis=1, keepdims=True)
    scaled = (gains / (gains.std() + 1e-8)).ravel()
    of_runs = [scaled[one.place] for one in played]
    return replace(batch_of(played), advantages=np.repeat(of_runs, [len(one.actions) for one in played]))


def _yardstick() -> dict[_Shop, float]:
    """Return the shops of validation, and the makespan of most work remaining in each."""
    settings = product(((9, 5), (7, 7), (9, 9)), (0.0, 0.1, 0.2), range(40))
    shops = [_Shop(FOR_VALIDATION + nth, *size, prob) for nth, (size, prob, _) in enumerate(settings)]
    return {shop: _ruled(shop) for shop in shops}


def _ruled(shop: _Shop) -> float:
    world = shop.world()
    simulate(world, BlockingRule())
    return world.makespan_s
