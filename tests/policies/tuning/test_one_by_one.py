"""One adapter after the other."""

from __future__ import annotations

import pytest

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Woke
from headway.policies.tuning.lorafusion_board import PipelineBoard
from headway.policies.tuning.lorafusion_nouns import AdapterJob, Enter
from headway.policies.tuning.one_by_one import OneByOne
from headway.sim.tuning.lorafusion import PipelineWorld, PipeSpec, TrueJob


def test_a_job_waits_for_its_own_step_and_for_the_jobs_before_it() -> None:
    board, policy = PipelineBoard(4, 100, 1), OneByOne(samples=2)
    for name in "ab":
        board.add(AdapterJob(id=name, arrival_s=0.0, lengths=((10, 10), (10,))))
    (enter,) = policy.decide(Woke(at_s=0.0), board)
    assert isinstance(enter, Enter)
    assert board.apply(enter) is None
    assert list(policy.decide(Woke(at_s=0.0), board)) == []
    board.leave()
    (enter,) = policy.decide(Woke(at_s=0.0), board)
    assert isinstance(enter, Enter)
    assert [(part.job, part.batch) for part in enter.mix.parts] == [("a", 1)]


def test_one_job_ends_before_the_next_begins() -> None:
    jobs = [AdapterJob(id=name, arrival_s=0.0, lengths=((10, 10), (10, 10))) for name in "abc"]
    world = PipelineWorld([TrueJob(job=job) for job in jobs], PipeSpec(num_stages=2, capacity_tokens=64))
    simulate(world, OneByOne())
    ends = list(world.finished_s.values())
    assert list(world.finished_s) == ["a", "b", "c"]
    assert ends == sorted(ends)
    assert ends[1] == pytest.approx(2 * ends[0])


def test_a_negative_number_of_examples_is_an_error() -> None:
    with pytest.raises(ConfigError, match="tuning/one-by-one: samples must be >= 0, got -2"):
        OneByOne(samples=-2)
