"""How shop/rl-cp-jssp is taught after its publication: a constraint solver finishes what the policy has begun.

One update: the policy plays some shops to the end; all are cut after the same random number of choices; the solver goes
on from there, warm-started with how the policy went on. The better its completion, the likelier its choices are made
and the less likely those of the policy after the cut; choices before the cut are judged by what the solver made of
them. Both as in PPO with clipping, without a critic and without a bonus for entropy.

Source: P. Tassel, M. Gebser, K. Schekotihin, "An End-to-End Reinforcement Learning Approach for Job-Shop Scheduling
Problems Based on Constraint Programming", ICAPS 2023, arXiv 2306.05747. Different here: the solver is CP-SAT with one
worker and a short limit in place of a commercial one with a longer one; shops are drawn anew for each update, smaller
than theirs; several rollouts of each, because improvements are compared within a shop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from msgspec import Struct

from headway.app.learning.rl_cp_jssp_data import (
    Choices,
    decider,
    first,
    joined,
    log_probs,
    optimiser,
    trained,
    valid_makespan,
)
from headway.app.learning.rl_cp_jssp_teacher import finish
from headway.app.learning.torch_ops import to_numpy, to_torch
from headway.app.learning.training import Spending, TrainNews, TrainSpec
from headway.numerics.nets import NumpyWeights
from headway.policies.shop.rl_cp_jssp_env import FOLLOW, SAMPLE, SCRIPT, Kept, Shops, tables
from headway.sim.shop.instances.generate import random_job_shop

SIZES = ((10, 10), (15, 10))
"""Jobs and machines, in turns."""
NUM_SHOPS, NUM_ROLLOUTS = 2, 4
TEACHER_S = 0.5
EPOCHS, MINIBATCHES, CLIP, MAX_KL = 20, 20, 0.3, 0.01
RATE = 2e-4
VALID_EVERY = 10
VALID_SEED = 2306_05747
VALID_SIZES = ((10, 10), (15, 10), (20, 15), (40, 15))
VALID_SHOPS = 12
"""Of each size."""


class Judged(Struct, frozen=True):
    """Choices and what each is worth: positive for those to be made likelier."""

    choices: Choices
    worth: npt.NDArray[np.float64]


def train(spec: TrainSpec) -> NumpyWeights:
    """Teach for a budget, and return the weights whose greedy policy was best on shops that were not trained on.

    Parameters
    ----------
    spec : TrainSpec
        Seed, budget and weights to go on from.
    """
    torch.set_num_threads(1)
    rng = np.random.default_rng(spec.seed)
    weights = to_torch(first(rng, spec.start))
    adam = optimiser(weights, RATE)
    judge = Best()
    spending = Spending(spec.budget_s)
    number = 0
    while (done := spending.done_frac) < 1.0:
        for group in adam.param_groups:
            group["lr"] = RATE * (1 - done)
        numbers = update(weights, adam, SIZES[number % len(SIZES)], rng)
        if number % VALID_EVERY == 0:
            numbers |= judge(to_numpy(weights))
            spec.tell(TrainNews(done, numbers))
        number += 1
    judge(to_numpy(weights))
    return judge.weights


class Best:
    """Keeps the weights that did best on shops of its own."""

    def __init__(self) -> None:
        rng = np.random.default_rng(VALID_SEED)
        self._problems = [[random_job_shop(*size, rng) for _ in range(VALID_SHOPS)] for size in VALID_SIZES]
        self._valid = math.inf
        self.weights: NumpyWeights = {}

    def __call__(self, weights: NumpyWeights) -> dict[str, float]:
        """Return the mean makespan over the lower bound, and remember the weights if it is the lowest so far."""
        found = float(np.mean([valid_makespan(weights, problems) for problems in self._problems]))
        if found < self._valid:
            self._valid, self.weights = found, {name: array.copy() for name, array in weights.items()}
        return {"valid": found, "best": self._valid}


def update(
    weights: Mapping[str, torch.Tensor], adam: torch.optim.Adam, size: tuple[int, int], rng: np.random.Generator
) -> dict[str, float]:
    """Play, cut, finish by the solver, and learn from both parts; return numbers about it."""
    problems = [
        problem for problem in [random_job_shop(*size, rng) for _ in range(NUM_SHOPS)] for _ in range(NUM_ROLLOUTS)
    ]
    decide = decider(to_numpy(weights))
    played, kept = Shops(tables(problems)), list[Kept]()
    played.run(decide, mode=SAMPLE, rng=rng, keep=kept)
    shortest = int(played.told.min())
    if shortest < 2:
        return {}
    cut = int(rng.integers(1, shortest))
    begun = Shops(played.tables)
    begun.script[:] = played.script
    begun.run(decide, mode=SCRIPT, most_told=cut)
    targets = np.stack(
        [finish(problem, begun, place, played.starts[place], TEACHER_S, rng) for place, problem in enumerate(problems)]
    )
    better: list[Kept] = []
    begun.run(decide, mode=FOLLOW, targets=targets, keep=better)
    gain = (played.makespans - begun.makespans).astype(np.float64)
    after, before = judged(joined(kept), joined(better) if better else None, cut, gain, begun.makespans)
    moved = [improve(weights, adam, part, rng) for part in (after, before) if len(part.choices)]
    return {"makespan": float(played.makespans.mean()), "gain": float(gain.mean()), "kl": float(np.mean(moved))}


def judged(
    own: Choices, better: Choices | None, cut: int, gain: npt.NDArray[np.float64], makespans: npt.NDArray[Any]
) -> tuple[Judged, Judged]:
    """Return what was chosen after the cut and before it, with what it is worth.

    After it, the solver's choices are worth the gain, scaled to 0 .. 1 among rollouts of a shop, and those of the
    policy as much less. Before it, what the solver's makespan is below the mean of the shop, in deviations.
    """
    by_shop = gain.reshape(-1, NUM_ROLLOUTS)
    low, high = by_shop.min(1, keepdims=True), by_shop.max(1, keepdims=True)
    share = ((by_shop - low) / np.maximum(high - low, 1e-9)).ravel()
    ends = makespans.reshape(-1, NUM_ROLLOUTS).astype(np.float64)
    below = ((ends.mean(1, keepdims=True) - ends) / np.maximum(ends.std(1, keepdims=True), 1e-9)).ravel()
    late, early = own.at(np.flatnonzero(own.turn >= cut)), own.at(np.flatnonzero(own.turn < cut))
    after = Judged(late, -share[late.shop])
    if better is not None:
        after = both(Judged(better, share[better.shop]), after)
    return after, Judged(early, below[early.shop])


def both(one: Judged, other: Judged) -> Judged:
    """Join choices, whatever their widths."""
    parts: Sequence[Choices] = (one.choices, other.choices)
    kept = [Kept(part.features, part.of_round, part.action, part.shop, part.turn, part.legal) for part in parts]
    return Judged(joined(kept), np.concatenate([one.worth, other.worth]))


def improve(
    weights: Mapping[str, torch.Tensor], adam: torch.optim.Adam, data: Judged, rng: np.random.Generator
) -> float:
    """Go over the choices until the policy has moved far enough; return how far."""
    with torch.no_grad():
        old = log_probs(weights, data.choices).numpy()
    moved = 0.0
    for _ in range(EPOCHS):
        for part in np.array_split(rng.permutation(len(old)), min(MINIBATCHES, len(old))):
            ratio = torch.exp(log_probs(weights, data.choices.at(part)) - torch.as_tensor(old[part]))
            worth = torch.as_tensor(data.worth[part], dtype=torch.float32)
            loss = torch.maximum(-worth * ratio, -worth * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained(weights), 0.5)
            adam.step()
        with torch.no_grad():
            change = log_probs(weights, data.choices) - torch.as_tensor(old)
            moved = float((torch.exp(change) - 1 - change).mean())
        if moved > MAX_KL:
            break
    return moved
