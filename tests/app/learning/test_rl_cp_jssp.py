"""How a dispatching policy is taught: the teacher goes on from the cut, and learning moves the right way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from headway.app.learning import rl_cp_jssp, rl_cp_jssp_sampled
from headway.app.learning.rl_cp_jssp import Judged, improve, judged
from headway.app.learning.rl_cp_jssp_data import (
    Choices,
    bounds,
    by_width,
    decider,
    first,
    joined,
    log_probs,
    optimiser,
    valid_makespan,
)
from headway.app.learning.rl_cp_jssp_teacher import finish, remaining
from headway.app.learning.torch_ops import to_numpy, to_torch
from headway.app.learning.training import TrainNews, TrainSpec, cpu_s
from headway.policies.shop.problem import Problem
from headway.policies.shop.rl_cp_jssp_env import SAMPLE, SCRIPT, Kept, Shops, schedule_of, tables
from headway.policies.shop.schedule import faults
from headway.sim.shop.instances.generate import random_job_shop


def shop(seed: int, num_jobs: int = 5, num_machines: int = 4) -> Problem:
    return random_job_shop(num_jobs, num_machines, np.random.default_rng(seed))


def played(problems: list[Problem], seed: int = 0) -> tuple[Shops, list[Kept]]:
    shops, kept = Shops(tables(problems)), list[Kept]()
    shops.run(decider(first(np.random.default_rng(seed), None)), mode=SAMPLE, rng=np.random.default_rng(1), keep=kept)
    return shops, kept


def test_the_teacher_goes_on_from_the_cut() -> None:
    problem = shop(0)
    shops, _ = played([problem])
    begun = Shops(shops.tables)
    begun.script[:] = shops.script
    begun.run(decider(first(np.random.default_rng(0), None)), mode=SCRIPT, most_told=3)
    fixed = begun.next_op.copy()
    found = finish(problem, begun, 0, shops.starts[0], 10.0, np.random.default_rng(0))
    assert faults(problem, schedule_of(problem, found)) == []
    assert faults(remaining(problem, begun, 0), schedule_of(problem, found)) == []
    for job in range(5):
        np.testing.assert_array_equal(found[job, : fixed[0, job]], shops.starts[0, job, : fixed[0, job]])
    ends = found + shops.tables.duration[0]
    assert ends.max() <= shops.makespans[0]


def test_choices_by_width_are_those_of_all_rounds() -> None:
    _, kept = played([shop(seed, 9) for seed in range(4)])
    weights = to_torch(first(np.random.default_rng(3), None))
    whole = log_probs(weights, joined(kept)).detach().numpy()
    parts = np.concatenate([log_probs(weights, part).detach().numpy() for part in by_width(kept, 20)])
    assert len(whole) == len(parts) == sum(len(one.action) for one in kept)
    np.testing.assert_allclose(np.sort(whole), np.sort(parts), atol=1e-5)
    assert (whole <= 0).all()
    assert whole.min() > -100  # nothing that was not legal


def test_choices_of_some_shops_keep_their_rounds() -> None:
    _, kept = played([shop(seed) for seed in range(4)])
    choices = joined(kept)
    some = choices.at(np.flatnonzero(choices.shop == 2))
    weights = to_torch(first(np.random.default_rng(3), None))
    whole = log_probs(weights, choices).detach().numpy()[choices.shop == 2]
    np.testing.assert_allclose(log_probs(weights, some).detach().numpy(), whole, atol=1e-6)


def test_what_a_choice_is_worth() -> None:
    """Two shops of four rollouts: gains are scaled within a shop, and makespans are held against its mean."""
    num = 8
    features = {"ops": np.zeros((1, 1, 5, 6)), "valid": np.ones((1, 1, 5), bool), "place": np.zeros((1, 1, 5), int)}
    features |= {"upcoming": np.zeros((1, 1, 5)), "rivals": np.ones((1, 1, 1), bool), "legal": np.ones((1, 1))}
    zeros, shops = np.zeros(2 * num, np.int64), np.repeat(np.arange(num), 2)
    own = Choices(
        features=features,
        of_round=zeros,
        action=zeros,
        shop=shops,
        turn=np.tile([0, 1], num),
        legal=np.ones((2 * num, 2), np.bool_),
    )
    gain = np.array([0.0, 5.0, 10.0, 10.0, 3.0, 3.0, 3.0, 3.0])
    ends = np.array([90, 110, 100, 100, 50, 50, 50, 50])
    after, before = judged(own, own.at(np.arange(0, 2 * num, 2)), 1, gain, ends)
    np.testing.assert_allclose(after.worth, [0, 0.5, 1, 1, 0, 0, 0, 0, 0, -0.5, -1, -1, 0, 0, 0, 0])
    np.testing.assert_allclose(before.worth, [2**0.5, -(2**0.5), 0, 0, 0, 0, 0, 0])


def test_choices_that_are_worth_something_become_likelier() -> None:
    _, kept = played([shop(seed) for seed in range(6)])
    choices = joined(kept)
    weights = to_torch(first(np.random.default_rng(0), None))
    adam = optimiser(weights, 1e-3)
    worth = np.where(choices.action == choices.legal.shape[1] - 1, -1.0, 1.0)
    before = log_probs(weights, choices).detach().numpy()
    moved = improve(weights, adam, Judged(choices, worth), np.random.default_rng(0))
    gain = log_probs(weights, choices).detach().numpy() - before
    assert moved > 0
    assert (gain * worth).mean() > 0
    assert not weights["place"].requires_grad


def test_an_update_after_the_publication_changes_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rl_cp_jssp, "TEACHER_S", 0.2)
    weights = to_torch(first(np.random.default_rng(0), None))
    adam, old = optimiser(weights, 1e-3), to_numpy(weights)
    numbers = rl_cp_jssp.update(weights, adam, (5, 4), np.random.default_rng(0))
    assert numbers["gain"] >= 0
    assert any((old[name] != array).any() for name, array in to_numpy(weights).items())


def test_rollouts_alone_teach_within_seconds() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    weights = to_torch(first(rng, None))
    problems = [shop(seed, 6, 4) for seed in range(100, 110)]
    adam, before = optimiser(weights, 5e-3), valid_makespan(to_numpy(weights), problems)
    for _ in range(12):
        rl_cp_jssp_sampled.update(weights, adam, (6, 4), rng)
    after = valid_makespan(to_numpy(weights), problems)
    assert 1.0 <= after < before - 0.05
    assert (bounds(problems) > 0).all()


@pytest.mark.parametrize("way", [rl_cp_jssp, rl_cp_jssp_sampled])
def test_a_training_keeps_to_its_budget_and_returns_its_best(way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rl_cp_jssp, way):
        monkeypatch.setattr(module, "SIZES", ((4, 3),))
        monkeypatch.setattr(module, "VALID_EVERY", 1)
    monkeypatch.setattr(rl_cp_jssp, "VALID_SIZES", ((4, 3),))
    monkeypatch.setattr(rl_cp_jssp, "TEACHER_S", 0.05)
    told: list[TrainNews] = []
    start_s = cpu_s()
    weights = way.train(TrainSpec(seed=1, budget_s=1.5, tell=told.append))
    assert cpu_s() - start_s < 15
    assert told
    valid = [news.numbers["valid"] for news in told]
    assert told[-1].numbers["best"] == min(valid)
    rng = np.random.default_rng(rl_cp_jssp.VALID_SEED)
    problems = [random_job_shop(4, 3, rng) for _ in range(rl_cp_jssp.VALID_SHOPS)]
    assert valid_makespan(weights, problems) <= min(valid) + 1e-12
