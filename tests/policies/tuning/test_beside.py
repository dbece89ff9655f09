"""What any share seat can count on beside any serving policy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from msgspec.structs import replace

from headway.core import catalogue
from headway.core.events import Event
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import Step, StepDone
from headway.policies.serving.promises import Promise
from headway.policies.serving.seats import ServingView
from headway.policies.tuning.harli import Harli, _shares
from headway.policies.tuning.harli_predictor import CoRunPredictor
from headway.policies.tuning.slack import PATIENCE_FRAC, RECENT, Slack
from headway.policies.tuning.wrap import beside
from policies.tuning.playing import Player, a_job


class Hearing(Harli):
    """Harli, and what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[StepDone] = []

    def reset(self, rng: np.random.Generator) -> None:
        super().reset(rng)
        self.done = []

    def hear(self, event: Event, view: ServingView) -> None:
        super().hear(event, view)
        if isinstance(event, StepDone):
            self.done.append(event)


class Watching:
    """A serving policy that notes the steps it is told the end of."""

    def __init__(self) -> None:
        self.inner = catalogue.build("serving/sarathi")
        self.done: list[StepDone] = []

    def reset(self, rng: np.random.Generator) -> None:
        self.inner.reset(rng)

    def decide(self, event: Event, view: ServingView) -> object:
        if isinstance(event, StepDone):
            self.done.append(event)
        return self.inner.decide(event, view)


@pytest.mark.parametrize("policy", ["serving/orca", "serving/vllm", "serving/reserve", "serving/shortest-first"])
def test_nobody_waits_for_ever_for_memory_that_is_lent(policy: str) -> None:
    player = Player(beside(catalogue.build(policy), Harli()), num_blocks=60)
    player.job(a_job(kv_blocks=40))
    player.request("a", prompt=200, output=500)  # 13 blocks now, 44 at the end
    for _ in range(300):
        player.run(1)
        for state in [state for state in player.board.requests.values() if state.output_tokens >= 100]:
            player.tell(player.board.finish(state.id, "length", player.board.now_s))
    assert not player.board.requests
    player.run(20)
    assert player.steps[-1][0].tune  # and training goes on afterwards


def test_the_end_of_a_step_is_told_though_the_job_has_gone_meanwhile() -> None:
    share, serving = Hearing(), Watching()
    player = Player(beside(serving, share))  # type: ignore[arg-type]
    player.job(a_job())
    player.request("a")
    player.run(30)
    num, last = len(share.done), player.steps[-1][0]
    assert player.instance.busy
    assert last.pieces
    player.tell(player.board.tuning.finish("job", "cancelled", player.board.now_s))
    player.run(10)
    assert len(share.done) == num + 1  # that of the step under way, and no other
    assert share.predictors["i"]._noted == {}


def test_serving_is_not_told_of_units_alone_though_the_job_has_gone_meanwhile() -> None:
    serving = Watching()
    player = Player(beside(serving, Harli()))  # type: ignore[arg-type]
    player.job(a_job())
    player.run(5)
    assert player.instance.busy
    player.tell(player.board.tuning.finish("job", "cancelled", player.board.now_s))
    player.run(5)
    assert len(player.steps) == 6
    assert not serving.done


def test_what_was_learnt_of_steps_stays_true_when_one_is_lost() -> None:
    player = Player(beside(catalogue.build("serving/sarathi"), Harli()))
    player.request("a")
    player.run(3)
    predictor, job = CoRunPredictor(), JobState(a_job())
    for num_decodes in (1, 60):
        pieces = player.instance.decodes.pieces * num_decodes
        predictor.note(player.instance, Step(instance="i", pieces=pieces), job)  # the end of the first is never told
    for _ in range(50):
        step = Step(instance="i", pieces=player.instance.decodes.pieces)
        predictor.note(player.instance, step, job)
        predictor.hear(StepDone(at_s=0.0, instance="i", step_s=5e-3, num_tokens=1), player.instance)
    assert predictor.num_alone(player.instance) == 50
    predictor.forget_step("i")
    predictor.hear(StepDone(at_s=0.0, instance="i", step_s=5e-3, num_tokens=1), player.instance)
    assert predictor.num_alone(player.instance) == 50


def test_one_impatient_request_is_forgotten() -> None:
    slack = Slack(0.05)
    slack.hear(Promise(ttft_s=1e-6, tpot_s=math.inf))
    assert slack.patience_s == pytest.approx(PATIENCE_FRAC * 1e-6)
    for _ in range(2 * RECENT):
        slack.hear(Promise(ttft_s=1.0, tpot_s=math.inf))
    assert slack.patience_s == pytest.approx(PATIENCE_FRAC)


def test_however_finely_the_compute_can_be_split_few_shares_are_looked_at() -> None:
    def num_looked_at(num_shares: int) -> int:
        player = Player(beside(catalogue.build("serving/sarathi"), Harli()), frozenset({"tune", "share"}))
        player.instance.num_shares = num_shares
        return len(list(_shares(player.instance, player.board)))

    assert [num_looked_at(num) for num in (1, 2, 16, 17, 128)] == [1, 2, 16, 9, 17]


def test_a_job_that_never_fits_is_in_no_other_ones_way() -> None:
    player = Player(beside(catalogue.build("serving/sarathi"), Harli()))
    player.job(a_job(kv_blocks=20))
    player.run(5)
    player.job(replace(a_job(kv_blocks=390), id="large"))
    player.run(100)
    assert player.board.jobs["job"].trained_tokens > 0
    assert player.steps[-1][0].tune[0].job == "job"
