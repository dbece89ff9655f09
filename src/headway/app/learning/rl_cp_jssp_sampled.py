"""How the shipped weights of shop/rl-cp-jssp were taught: by its own rollouts alone, without a teacher.

Each shop is played several times; choices of rollouts that end sooner than the mean of their shop are made likelier, in
proportion to by how many deviations (REINFORCE with a shared baseline). It is not the publication's way, which is in
`rl_cp_jssp`; per processor second it learns more here, because it spends nothing on a solver.

The shipped weights took 620 processor seconds in two stages, seed 0: 200 s on 10x10 and 15x10 at a rate of 3e-3, and
420 s from there on all four sizes at 2e-3. Beside them lie weights that the published loop taught (`published`).

Source: R. Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning",
Machine Learning 8, 1992; the shared baseline after Y.-D. Kwon et al., "POMO", NeurIPS 2020, arXiv 2010.16011.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from headway.app.learning.rl_cp_jssp import VALID_EVERY, Best
from headway.app.learning.rl_cp_jssp_data import by_width, decider, first, log_probs, optimiser, trained
from headway.app.learning.torch_ops import to_numpy, to_torch
from headway.app.learning.training import Spending, TrainNews, TrainSpec
from headway.numerics.nets import NumpyWeights
from headway.policies.shop.rl_cp_jssp_env import SAMPLE, Kept, Shops, tables
from headway.sim.shop.instances.generate import random_job_shop

SIZES = ((10, 10), (15, 10), (15, 15), (20, 10))
NUM_SHOPS, NUM_ROLLOUTS = 8, 16
RATE = 3e-3


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
    judge, spending, number = Best(), Spending(spec.budget_s), 0
    while (done := spending.done_frac) < 1.0:
        for group in adam.param_groups:
            group["lr"] = RATE * (1 - done)
        numbers = {"makespan": update(weights, adam, SIZES[number % len(SIZES)], rng)}
        if number % VALID_EVERY == 0:
            numbers |= judge(to_numpy(weights))
            spec.tell(TrainNews(done, numbers))
        number += 1
    judge(to_numpy(weights))
    return judge.weights


def update(
    weights: Mapping[str, torch.Tensor], adam: torch.optim.Adam, size: tuple[int, int], rng: np.random.Generator
) -> float:
    """Play and learn; return the mean makespan."""
    problems = [
        problem for problem in [random_job_shop(*size, rng) for _ in range(NUM_SHOPS)] for _ in range(NUM_ROLLOUTS)
    ]
    shops, kept = Shops(tables(problems)), list[Kept]()
    shops.run(decider(to_numpy(weights)), mode=SAMPLE, rng=rng, keep=kept)
    ends = shops.makespans.reshape(NUM_SHOPS, NUM_ROLLOUTS).astype(np.float64)
    worth = ((ends.mean(1, keepdims=True) - ends) / (ends.std(1, keepdims=True) + 1e-9)).ravel()
    num = sum(len(one.action) for one in kept)
    adam.zero_grad()
    for choices in by_width(kept):
        likely = log_probs(weights, choices)
        loss = -(torch.as_tensor(worth[choices.shop], dtype=torch.float32) * likely).sum() / num
        loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(trained(weights), 0.5)
    adam.step()
    return float(ends.mean())
