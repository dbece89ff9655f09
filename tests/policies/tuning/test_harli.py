from __future__ import annotations

import pytest

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.core.slo import Slo, SloClass
from headway.policies.serving.nouns import Step
from headway.policies.tuning.beside import Beside
from headway.policies.tuning.harli import ALONE_FIRST, LONG_ALONE, Harli
from policies.tuning.playing import Player, a_job


def a_player(can: str = "tune repeat", tpot_s: float = 0.05, **more: object) -> Player:
    slo = SloClass(name="default", slos=(Slo("ttft_s", 1.0), Slo("tpot_s", tpot_s)))
    return Player(catalogue.build("tuning/harli"), frozenset(can.split()), slo, **more)  # type: ignore[arg-type]


def carried(player: Player, since: int = 0) -> list[Step]:
    return [step for step, _ in player.steps[since:] if step.tune and step.pieces]


def test_units_run_alone_while_there_is_nothing_to_serve() -> None:
    player = a_player()
    player.job(a_job())
    player.run(50)
    assert len(player.steps) == 50
    assert all(step.tune and not step.pieces for step, _ in player.steps)
    assert max(done.step_s for _, done in player.steps[10:]) <= 0.05
    assert not player.refused


def test_steps_keep_the_promised_time_per_token_and_use_what_is_left_of_it() -> None:
    player = a_player()
    player.job(a_job())
    for name in "abcd":
        player.request(name)
    player.run(400)
    times_s = [done.step_s for step, done in player.steps[100:] if step.tune]
    assert max(times_s) <= 0.05
    assert sum(times_s) / len(times_s) > 0.03
    assert not player.refused


def test_with_no_room_in_the_promise_no_step_carries_anything() -> None:
    player = a_player(tpot_s=0.0045)
    player.job(a_job())
    player.request("a")
    player.run(200)
    assert not carried(player, since=ALONE_FIRST)


def test_side_by_side_it_takes_the_smallest_share_that_keeps_the_promise() -> None:
    for tpot_s, knee, smallest in ((0.012, 0.3, 0.2), (0.007, 0.6, 0.4), (0.006, 0.8, 0.7)):
        player = a_player("tune repeat share", tpot_s=tpot_s, layer_s=2e-4, slow=lambda x, k=knee: max(1.0, k / x))
        player.job(a_job())
        for name in "abcd":
            player.request(name)
        player.run(600)
        shares = [step.share for step in carried(player, since=300)]
        assert sorted(shares)[len(shares) // 2] == pytest.approx(smallest, abs=0.11)
        assert max(done.step_s for _, done in player.steps[300:]) <= tpot_s


def test_memory_is_lent_and_taken_back_when_requests_need_it() -> None:
    player = a_player(num_blocks=60)
    player.job(a_job(kv_blocks=30))
    assert len(player.instance.tune_blocks) == 30
    for name in "abcdef":
        player.request(name, prompt=100)
        player.run(3)
    player.run(40)
    assert not player.instance.tune_blocks
    assert player.instance.num_running == 6
    assert not any(state.num_preempted for state in player.board.requests.values())


def test_few_places_left_end_the_carrying() -> None:
    player = a_player(max_running=4)
    player.job(a_job())
    for name in "abcd":
        player.request(name)
    player.run(100)
    assert not carried(player, since=20)


def test_a_fright_is_forgotten() -> None:
    player = a_player(tpot_s=0.012)
    player.job(a_job())
    for name in "abcd":
        player.request(name)
    player.run(60)
    usual, player.layer_s = player.layer_s, 0.2  # something else has taken the machine for a while
    player.run(12)
    player.layer_s = usual
    player.run(300)
    assert len(carried(player, since=len(player.steps) - 50)) > 25


def test_predictions_come_close() -> None:
    player = a_player()
    player.job(a_job())
    for name in "abcdefgh":
        player.request(name)
        player.run(40)
    policy = player.policy
    assert isinstance(policy, Beside)
    assert isinstance(policy.share, Harli)
    predictor = policy.share.predictors["i"]
    assert predictor.error.num_seen > 100
    assert predictor.error.mape < 0.05


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="margin_frac"):
        Harli(margin_frac=1.0)
    with pytest.raises(ConfigError, match="low_free_frac"):
        Harli(low_free_frac=0.5, high_free_frac=0.2)


def test_a_first_unit_is_tried_even_where_promises_are_tight() -> None:
    player = a_player(tpot_s=0.007, layer_s=1e-4)
    player.request("a")  # so that no unit was seen before
    player.job(a_job())
    player.run(300)
    steps = [step for step, _ in player.steps]
    first = next(number for number, step in enumerate(steps) if step.tune and step.pieces)
    assert first >= LONG_ALONE
    assert sum(1 for step in steps[first:] if step.tune) > 50
