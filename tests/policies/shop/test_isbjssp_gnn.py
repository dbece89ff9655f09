"""The learned rule of shops without buffers: what it sees, what its network computes, when it asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.app.learning import isbjssp_gnn as teaching
from headway.app.learning.torch_ops import TORCH, to_torch
from headway.app.learning.training import TrainNews, TrainSpec
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.learning import Asking, Question, answered
from headway.numerics.nets import NUMPY, save
from headway.policies.shop.blocking_rule import BlockingRule
from headway.policies.shop.isbjssp_features import NAMES, Grid
from headway.policies.shop.isbjssp_gnn import SHIPPED, IsbjsspGnn
from headway.policies.shop.isbjssp_net import first_weights, forward
from headway.sim.shop.blocking_instances import draw_routes, random_world
from headway.sim.shop.blocking_truth import Interruptions
from headway.sim.shop.blocking_world import BlockingWorld, Route
from headway.sim.shop.episodes import episode


def weights(seed: int = 0) -> dict[str, Any]:
    """Draw weights whose scores differ."""
    rng = np.random.default_rng(seed)
    return {
        name: array + rng.normal(0, 0.1, array.shape).astype(np.float32) for name, array in first_weights(rng).items()
    }


def played(world: BlockingWorld) -> Asking[float]:
    return episode(world, IsbjsspGnn(), lambda world: -world.waited_s)


def questions_of(world: BlockingWorld) -> list[Question]:
    found: list[Question] = []

    def first(question: Question) -> int:
        found.append(question)
        return int(np.argmax(question.legal))

    answered(played(world), first)
    return found


def test_it_asks_only_where_several_wait() -> None:
    asked = questions_of(random_world(0, 9, 5, 0.1))
    assert len(asked) > 5
    assert all(question.legal.sum() > 1 for question in asked)
    assert {array.shape for question in asked for array in question.features.values()} == {
        (9, 5, len(NAMES)),
        (9, 5),
        (9, 5, 5),
    }


def test_rewards_sum_up() -> None:
    world = random_world(0, 9, 5, 0.1)
    rewards: list[float] = []

    def first(question: Question) -> int:
        rewards.append(question.reward)
        return int(np.argmax(question.legal))

    last = answered(played(world), first)
    assert sum(rewards) + last == pytest.approx(-world.waited_s)


def test_features_by_hand() -> None:
    """At 4 the second machine has been down for 1 with a job on it, and job 0 blocks the first one."""
    routes: list[Route] = [[(0, 2), (1, 4)], [(1, 6)], [(0, 4), (1, 4)], [(2, 4), (1, 4)]]
    within = np.array([[-1, -1], [3, -1], [-1, -1], [-1, -1]])
    world = BlockingWorld(routes, Interruptions(within, np.zeros((4, 2), bool), np.full((4, 2), 9)))
    policy = BlockingRule(rule="fifo")
    policy.reset(np.random.default_rng(0))
    while world.view.now_s < 4 and (event := world.next()) is not None:
        for action in policy.decide(event, world.view):
            assert world.apply(action) is None
    grid, scale = Grid(world.view), 4.0
    assert grid.scale_s == scale
    seen = grid.features(world.view, asked=1)
    nodes = {
        (job, place): dict(zip(NAMES, seen["nodes"][job, place], strict=True)) for job in range(4) for place in (0, 1)
    }
    assert seen["alive"].tolist() == [[1, 1], [1, 0], [1, 1], [1, 1]]
    assert seen["current"].tolist() == [[0, 1], [1, 0], [1, 0], [0, 1]]
    blocking, wanted, interrupted, outside, behind = (nodes[at] for at in ((0, 0), (0, 1), (1, 0), (2, 0), (2, 1)))
    assert (blocking["blocking"], blocking["waited"], blocking["time left"]) == (1, 2 / scale, 0)
    assert (blocking["queue"], wanted["queue"]) == (1 / 4, 2 / 4)
    assert (wanted["ready"], wanted["waited"], wanted["completion"]) == (1, 2 / scale, 0.5)
    assert (wanted["machine down"], wanted["machine free"], wanted["asked for"]) == (1, 0, 1)
    assert (interrupted["running"], interrupted["time left"], interrupted["time"]) == (1, 3 / scale, 6 / scale)
    assert (outside["ready"], outside["waited"], outside["asked for"]) == (1, 4 / scale, 0)
    assert (behind["not ready"], behind["operations left"], behind["waited"]) == (1, 0.5, 0)
    assert outside["work left"] == pytest.approx(8 / scale / 2)
    assert behind["load"] == pytest.approx((4 + 6 + 4 + 4) / scale / 4)


@pytest.mark.parametrize("size", [(9, 5), (8, 6)])
def test_numpy_and_torch_agree(size: tuple[int, int]) -> None:
    asked = questions_of(random_world(1, *size, 0.2))
    batch = {name: np.stack([one.features[name] for one in asked]) for name in asked[0].features}
    drawn = weights()
    scores, values = forward(NUMPY, drawn, batch)
    assert scores.shape == (len(asked), size[0])
    assert scores.dtype == np.float32
    for ours, theirs in zip((scores, values), forward(TORCH, to_torch(drawn), batch), strict=True):
        assert ours == pytest.approx(theirs.detach().numpy(), abs=1e-4)


def test_jobs_and_machines_have_no_order() -> None:
    """Scores move with the jobs, and do not depend on how machines are numbered."""
    (one, *_) = questions_of(random_world(2, 8, 5, 0.2))
    jobs, machines = np.random.default_rng(0).permutation(8), np.random.default_rng(1).permutation(5)
    given = {name: array[None] for name, array in one.features.items()}
    moved = {name: array[:, jobs] for name, array in given.items()}
    moved["on"] = moved["on"][..., machines]
    (scores, value), (other, same) = (forward(NUMPY, weights(), features) for features in (given, moved))
    assert other[0] == pytest.approx(scores[0, jobs], abs=1e-4)
    assert same == pytest.approx(value, abs=1e-4)


def test_messages_reach_three_edges_and_what_is_over_says_nothing() -> None:
    asked = questions_of(random_world(3, 8, 5, 0.0))[-1].features
    given = {name: array[None].copy() for name, array in asked.items()}
    before = forward(NUMPY, weights(), given)[0]
    over = given["alive"] == 0
    assert over.any()
    given["nodes"][over] = 7.0
    assert forward(NUMPY, weights(), given)[0] == pytest.approx(before, abs=1e-5)


def test_the_highest_score_gets_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "drawn.npz"
    save(path, weights(), {})
    policy, ruled = IsbjsspGnn(weights=str(path)), IsbjsspGnn(weights=str(path))
    asked: list[int] = []

    def best(question: Question) -> int:
        scores, _ = forward(NUMPY, weights(), {name: array[None] for name, array in question.features.items()})
        asked.append(int(np.argmax(np.where(question.legal, scores[0], -np.inf))))
        return asked[-1]

    worlds = [random_world(4, 9, 5, 0.1) for _ in range(2)]
    simulate(worlds[0], policy)
    answered(episode(worlds[1], ruled, lambda world: 0.0), best)
    assert worlds[0].starts == worlds[1].starts
    assert len(asked) > 5


def test_bad_weights_are_named_at_the_first_decision(tmp_path: Path) -> None:
    missing = IsbjsspGnn(weights=str(tmp_path / "none.npz"))
    asked = questions_of(random_world(0, 9, 5, 0.1))
    with pytest.raises(ConfigError, match="found none"):
        missing.choose(asked[0])
    save(tmp_path / "other.npz", {"embed.w": np.zeros((2, 2))}, {})
    with pytest.raises(ConfigError, match="another network"):
        IsbjsspGnn(weights=str(tmp_path / "other.npz")).choose(asked[0])


def test_shipped_weights_beat_chance_on_shops_they_were_not_trained_on() -> None:
    assert SHIPPED.stat().st_size < 150_000
    ours, chance = 0.0, 0.0
    for seed in range(20):
        for total, policy in (("ours", IsbjsspGnn()), ("chance", BlockingRule(rule="random"))):
            world = random_world(teaching.FOR_VALIDATION * 2 + seed, 10, 5, 0.1)
            simulate(world, policy, seed=seed)
            ours, chance = (ours + world.makespan_s, chance) if total == "ours" else (ours, chance + world.makespan_s)
    assert ours < 0.97 * chance


@pytest.mark.parametrize("advantage", ["group", "value"])
def test_teaching_goes_on_and_tells(advantage: Any) -> None:
    news: list[TrainNews] = []
    lesson = teaching.Lesson(least=4, most=5, num_shops=2, num_runs=2, every=1, advantage=advantage)
    learnt = teaching.taught(TrainSpec(seed=0, budget_s=0.5, tell=news.append), lesson)
    assert news[-1].done_frac == 1.0
    assert news[-1].numbers["best"] <= news[-1].numbers["valid"]
    assert {name: array.shape for name, array in learnt.items()} == {
        name: array.shape for name, array in first_weights(np.random.default_rng(0)).items()
    }


def test_a_job_with_a_shorter_route_is_no_node_beyond_its_end() -> None:
    routes = [*draw_routes(np.random.default_rng(0), 4, 3), [(0, 5)]]
    world = BlockingWorld(routes)
    asked = questions_of(world)[0]
    assert asked.features["alive"][4].tolist() == [1, 0, 0]
    assert asked.features["on"][4, 1:].sum() == 0
