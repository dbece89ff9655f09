from __future__ import annotations

import pytest

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.policies.tuning.static_split import StaticSplit
from policies.tuning.playing import Player, a_job


def a_player(can: str, share: float) -> Player:
    player = Player(catalogue.build("tuning/static-split", {"share": share}), frozenset(can.split()), layer_s=2e-4)
    player.job(a_job())
    for name in "abcd":
        player.request(name)
    player.run(500)
    assert not player.refused
    return player


def test_the_share_is_the_same_whatever_runs() -> None:
    player = a_player("tune repeat share", 0.6)
    assert {step.share for step, _ in player.steps if step.tune} == {0.6}
    assert all(step.tune for step, _ in player.steps[5:])


def test_units_lie_beside_the_pieces_and_hardly_beyond() -> None:
    late = a_player("tune repeat share", 0.5).steps[100:]
    done = [done for step, done in late if step.pieces]
    assert sum(one.step_s for one in done) < 1.15 * sum(one.pieces_s or 0.0 for one in done)
    assert sum(one.tune_s for one in done) > 0.7 * sum(one.pieces_s or 0.0 for one in done)


def test_without_shares_the_split_is_one_of_time() -> None:
    late = a_player("tune repeat", 0.75).steps[100:]
    done = [done for step, done in late if step.pieces]
    assert {step.share for step, _ in late} == {1.0}
    spent_frac = sum(one.tune_s for one in done) / sum(one.step_s for one in done)
    assert 0.1 < spent_frac < 0.3


def test_memory_is_not_given_back_while_anything_runs() -> None:
    player = Player(catalogue.build("tuning/static-split"), num_blocks=60)
    player.job(a_job(kv_blocks=20))
    for name in "abcdefgh":
        player.request(name, prompt=64, output=60)
    fewest = 60
    for _ in range(100):
        player.run(1)
        fewest = min(fewest, player.instance.kv.num_free)
        assert len(player.instance.tune_blocks) == 20
    assert fewest < 10


def test_a_share_leaves_something_to_both() -> None:
    with pytest.raises(ConfigError, match=r"share must be in \(0, 1\)"):
        StaticSplit(share=1.0)
