from __future__ import annotations

import pytest

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.policies.serving.jobs import JobState
from headway.policies.tuning.co_serve import CoServe, layers_worth
from policies.tuning.playing import Player, a_job


def worth(step_tokens: int, units_tokens: int, num_layers: int) -> float:
    return step_tokens + units_tokens * num_layers / 8


def test_steps_are_filled_up_to_the_budget_and_no_further() -> None:
    player = Player(catalogue.build("tuning/co-serve", {"token_budget": 200}), layer_s=1e-4)
    player.job(a_job(tokens=256))
    for name in "abcdef":
        player.request(name)
    player.run(200)
    carrying = [step for step, _ in player.steps if step.tune and step.pieces]
    assert len(carrying) > 150
    for step in carrying:
        num_layers = sum(u.layers[1] - u.layers[0] if u.phase != "update" else 1 for u in step.tune)
        assert 200 - 256 / 8 < worth(step.num_tokens, 256, num_layers) <= 200
        assert not step.fused  # this executor cannot
    assert not player.refused


def test_a_step_is_fused_where_the_executor_can() -> None:
    player = Player(catalogue.build("tuning/co-serve"), frozenset({"tune", "repeat", "fuse"}), layer_s=1e-4)
    player.job(a_job())
    player.request("a")
    player.run(50)
    carrying = [step for step, _ in player.steps if step.tune and step.pieces]
    assert carrying
    assert all(step.fused and step.share == 1.0 for step in carrying)


def test_what_tokens_are_worth() -> None:
    state = JobState(a_job(tokens=256))
    assert [layers_worth(state, tokens) for tokens in (-5, 0, 31, 32, 256, 512)] == [0, 0, 0, 1, 8, 16]


def test_a_budget_is_at_least_a_token() -> None:
    with pytest.raises(ConfigError, match="token_budget must be >= 1"):
        CoServe(token_budget=0)
