"""Questions as a gymnasium environment."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from headway.core.learning import Asking, Question
from headway.sim.shop import gym
from headway.sim.shop.asking_env import AskingEnv, Start


def countdown(seed: int) -> Asking[float]:
    """Ask `seed % 5` times plus one which of three numbers to add; the last of them may not be chosen twice."""
    rng, last, total = np.random.default_rng(seed), -1, 0.0
    for left in range(seed % 5 + 1, 0, -1):
        legal = np.array([True, True, last != 2])
        last = yield Question({"left": np.array([left]), "noise": rng.normal(size=2)}, legal, total)
        assert legal[last]
        total = float(last)
    return total


def silent(seed: int) -> Asking[float]:
    return 0.0
    yield  # a generator without questions


def sometimes_silent(seed: int) -> Asking[float]:
    return (yield from silent(seed) if seed % 3 else countdown(seed))


@pytest.mark.parametrize("start", [countdown, sometimes_silent])
def test_gymnasium_finds_no_fault(start: Start) -> None:
    check_env(AskingEnv(start), skip_render_check=True)


def test_rewards_masks_and_ends() -> None:
    env = AskingEnv(countdown)
    seed = next(seed for seed in range(100) if env.reset(seed=seed)[0]["left"][0] == 3)
    observation, info = env.reset(seed=seed)
    assert observation["noise"].dtype == np.float32
    assert info["action_mask"].tolist() == [1, 1, 1]
    _, reward, is_over, _, info = env.step(np.int64(2))
    assert (reward, is_over) == (2.0, False)
    assert info["action_mask"].tolist() == [1, 1, 0]
    assert not info["replaced"]
    _, reward, is_over, _, info = env.step(np.int64(2))  # not legal: 0 comes next
    assert (reward, is_over, info["replaced"]) == (0.0, False, True)
    assert env.step(np.int64(1))[1:3] == (1.0, True)


def test_actions_are_taken_as_they_are_when_legal() -> None:
    env = AskingEnv(countdown)
    for action in range(3):
        env.reset(seed=1)
        assert env.step(np.int64(action))[1] == action


def test_what_never_asks_is_no_environment() -> None:
    with pytest.raises(RuntimeError, match="must ask a question"):
        AskingEnv(silent)


def test_an_environment_is_found_by_its_module_alone() -> None:
    """In a process that has imported nothing of Headway."""
    code = "import gymnasium; gymnasium.make('headway.sim.shop.gym:headway/JobShop-v0').reset(seed=0)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize("name", gym.ENVIRONMENTS)
def test_environments_are_registered_and_sound(name: str) -> None:
    gym.register()
    env = gymnasium.make(f"headway/{name}-v0")
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_registering_again_changes_nothing() -> None:
    gym.register()
    before = dict(gymnasium.registry)
    gym.register()
    assert dict(gymnasium.registry) == before
