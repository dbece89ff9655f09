from __future__ import annotations

from itertools import pairwise

import pytest

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.core.slo import Slo, SloClass
from headway.policies.tuning.reactive import Reactive
from policies.tuning.playing import Player, a_job


def a_player(tpot_s: float) -> Player:
    slo = SloClass(name="default", slos=(Slo("ttft_s", 1.0), Slo("tpot_s", tpot_s)))
    player = Player(catalogue.build("tuning/reactive"), slo=slo, layer_s=1e-3)
    player.job(a_job())
    for name in "abcd":
        player.request(name)
    player.run(400)
    assert not player.refused
    return player


def test_it_takes_more_until_a_step_is_late_and_then_half() -> None:
    late = a_player(0.05).steps[100:]
    times_s = [done.step_s for step, done in late if step.pieces]
    assert max(times_s) > 0.95 * 0.05  # it finds out only by being late
    layers = [sum(u.layers[1] - u.layers[0] for u in step.tune if u.phase != "update") for step, _ in late]
    assert any(after < 0.6 * before for before, after in pairwise(layers))
    assert sum(times_s) / len(times_s) > 0.025


def test_what_is_always_late_carries_next_to_nothing() -> None:
    late = a_player(0.001).steps[100:]
    carried = [step for step, _ in late if step.pieces and step.tune]
    assert len(carried) < 0.1 * len(late)


def test_a_margin_is_a_share() -> None:
    with pytest.raises(ConfigError, match=r"margin_frac must be in \[0, 1\)"):
        Reactive(margin_frac=1.0)
