from __future__ import annotations

import pytest

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.policies.tuning.unmanaged import Unmanaged
from policies.tuning.playing import Player, a_job


def test_both_sides_get_half_whatever_was_promised() -> None:
    player = Player(catalogue.build("tuning/unmanaged"), frozenset({"tune", "repeat", "share"}), layer_s=2e-4)
    player.job(a_job())
    for name in "abcdefgh":
        player.request(name)
    player.run(300)
    carrying = [step for step, _ in player.steps if step.tune and step.pieces]
    assert {step.share for step in carrying} == {0.5}
    assert len(carrying) > 250
    assert not player.refused


def test_alone_it_has_all_of_the_compute() -> None:
    player = Player(catalogue.build("tuning/unmanaged"), frozenset({"tune", "repeat", "share"}))
    player.job(a_job())
    player.run(20)
    assert {step.share for step, _ in player.steps} == {1.0}


def test_a_time_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="idle_unit_s must be > 0"):
        Unmanaged(idle_unit_s=-1.0)
