from __future__ import annotations

import pytest

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.state import InstanceState
from headway.policies.tuning.apart import without
from headway.policies.tuning.dedicated import Dedicated
from policies.tuning.playing import Player, a_job


def a_board(*names: str) -> ServingBoard:
    return ServingBoard([InstanceState(name, BlockPool(40), num_layers=8) for name in names], frozenset({"tune"}))


@pytest.mark.parametrize(("num", "apart"), [(1, ["c"]), (2, ["b", "c"]), (9, ["b", "c"])])
def test_the_last_instances_train_and_one_is_left_to_serve(num: int, apart: list[str]) -> None:
    policy, board = Dedicated(num_trainers=num), a_board("a", "b", "c")
    assert list(policy.trains_at(board)) == apart
    seen = without(board, apart)
    assert [*seen.instances, *seen.resources] == 2 * [name for name in "abc" if name not in apart]
    assert seen.now_s == board.now_s
    assert seen.draft() is not None


def test_a_single_instance_serves_and_jobs_wait() -> None:
    player = Player(catalogue.build("tuning/dedicated"))
    player.job(a_job())
    player.request("a", output=20)
    player.run(30)
    assert player.steps
    assert not any(step.tune for step, _ in player.steps)
    assert not player.board.jobs["job"].instance


def test_at_least_one_trains() -> None:
    with pytest.raises(ConfigError, match="num_trainers must be >= 1"):
        Dedicated(num_trainers=0)
