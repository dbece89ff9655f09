from __future__ import annotations

import pytest

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.policies.tuning.when_idle import WhenIdle
from policies.tuning.playing import Player, a_job


def test_units_run_only_while_nobody_waits_or_runs() -> None:
    player = Player(catalogue.build("tuning/when-idle"))
    player.job(a_job())
    player.run(20)
    for name in "abc":
        player.request(name)
    player.run(300)
    with_pieces = [step for step, _ in player.steps if step.pieces]
    assert len(with_pieces) > 200
    assert not any(step.tune for step in with_pieces)
    assert all(step.tune and not step.pieces for step, _ in player.steps[:20])
    assert not player.refused


def test_units_are_cut_to_the_time_that_an_arrival_can_wait() -> None:
    player = Player(catalogue.build("tuning/when-idle", {"idle_unit_s": 0.02}), layer_s=1e-3)
    player.job(a_job())
    player.run(60)
    times_s = [done.step_s for _, done in player.steps[20:]]
    assert max(times_s) <= 0.02 * 1.3
    assert sum(times_s) / len(times_s) > 0.008


def test_a_time_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="idle_unit_s must be > 0"):
        WhenIdle(idle_unit_s=0.0)
