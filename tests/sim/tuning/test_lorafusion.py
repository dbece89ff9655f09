"""The pipeline in virtual time, against closed forms."""

from __future__ import annotations

import pytest

from headway.core.actions import Start, Wake
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Finished, Progressed, Woke
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.tuning.lorafusion import LoraFusion
from headway.policies.tuning.lorafusion_nouns import AdapterJob, Enter, Mix, Part
from headway.policies.tuning.mlora import Mlora
from headway.policies.tuning.one_by_one import OneByOne
from headway.sim.tuning.lorafusion import PipelineWorld, PipeSpec, TrueJob
from headway.sim.tuning.lorafusion_jobs import DataSpec, draw_jobs


def equal_jobs(num_jobs: int, num_batches: int, num_samples: int) -> list[TrueJob]:
    lengths = ((100,) * num_samples,) * num_batches
    return [TrueJob(job=AdapterJob(id=f"j{nth}", arrival_s=0.0, lengths=lengths)) for nth in range(num_jobs)]


@pytest.mark.parametrize("num_stages", [1, 2, 4, 7])
@pytest.mark.parametrize("num_samples", [1, 3, 8])
def test_a_global_batch_alone_leaves_the_bubble_of_the_closed_form(num_stages: int, num_samples: int) -> None:
    spec = PipeSpec(num_stages=num_stages, capacity_tokens=100, tile_tokens=1, forward_s_per_token=0.01,
                    backward_s_per_token=0.02)  # fmt: skip
    world = PipelineWorld(equal_jobs(1, 3, num_samples), spec)
    simulate(world, OneByOne())
    assert world.bubble_frac == pytest.approx((num_stages - 1) / (num_samples + num_stages - 1))
    assert world.last_s == pytest.approx(3 * (num_samples + num_stages - 1) * 3.0)


def test_turns_of_equal_jobs_leave_one_bubble_at_the_start_and_end() -> None:
    spec = PipeSpec(num_stages=4, capacity_tokens=100, tile_tokens=1)
    world = PipelineWorld(equal_jobs(4, 5, 2), spec)
    simulate(world, Mlora())
    assert world.bubble_frac == pytest.approx(3 / (4 * 5 * 2 + 3))


def test_too_few_adapters_are_kept_apart_by_empty_microbatches() -> None:
    spec = PipeSpec(num_stages=4, capacity_tokens=100, tile_tokens=1)
    world = PipelineWorld(equal_jobs(1, 3, 2), spec)
    simulate(world, LoraFusion())
    assert world.numbers()["num_empty"] == 2 * 2 + 2  # 4 stages, 2 microbatches: 3 before each of the later batches
    assert world.bubble_frac == pytest.approx(3 / 5)


def test_a_job_steps_after_each_global_batch_and_may_be_stopped() -> None:
    (true,) = equal_jobs(1, 5, 2)
    world = PipelineWorld([TrueJob(job=true.job, num_batches=2)], PipeSpec(num_stages=2, capacity_tokens=128))
    trace, policy = MemoryTrace(1000), OneByOne()
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert [event.done for event in trace.records if isinstance(event, Progressed)] == [1, 2]
    assert [event.id for event in trace.records if isinstance(event, Finished)] == ["j0"]
    assert world.trained_tokens == 400


def test_an_example_that_fits_into_no_microbatch_is_an_error() -> None:
    with pytest.raises(ConfigError, match="j0: every example must fit into a microbatch of 100 padded tokens, got 128"):
        PipelineWorld(equal_jobs(1, 1, 1), PipeSpec(capacity_tokens=100, tile_tokens=64))


def test_what_may_not_enter_is_refused_and_changes_nothing() -> None:
    world = PipelineWorld(equal_jobs(1, 2, 2), PipeSpec(num_stages=2, capacity_tokens=128, tile_tokens=64))
    world.next()
    before = world.view.fingerprint()
    ways = {
        "may have 128 padded tokens, 256": Part("j0", 0, (0, 1), (100, 100)),
        "no job": Part("nobody", 0, (0,), (100,)),
        "global batch 0, 1 asked": Part("j0", 1, (0,), (100,)),
        "enter once": Part("j0", 0, (5,), (100,)),
        "do not have 90 tokens": Part("j0", 0, (0,), (90,)),
    }
    for why, part in ways.items():
        assert why in (world.apply(Enter(Mix((part,)))) or "")
    assert "enter once" in (world.apply(Enter(Mix((Part("j0", 0, (0, 0), (1, 1)),)))) or "")
    assert "does not know" in (world.apply(Start("j0", {})) or "")
    assert world.view.fingerprint() == before
    assert world.apply(Enter(Mix((Part("j0", 0, (0,), (100,)),)))) is None
    assert world.apply(Enter(Mix((Part("j0", 0, (1,), (100,)),)))) == "the first stage is busy"


def test_a_wake_comes_back() -> None:
    world = PipelineWorld([], PipeSpec())
    assert world.apply(Wake(2.5, "later")) is None
    event = world.next()
    assert isinstance(event, Woke)
    assert (event.at_s, event.tag) == (2.5, "later")


def test_lengths_follow_their_distribution() -> None:
    (job,) = draw_jobs([DataSpec(mean_tokens=500, sigma=0.6)], 0, num_batches=100, batch_size=20)
    lengths = [tokens for batch in job.lengths for tokens in batch]
    assert sum(lengths) / len(lengths) == pytest.approx(500, rel=0.05)
    assert min(lengths) >= 16


@pytest.mark.parametrize("name", ["num_stages", "capacity_tokens", "tile_tokens", "forward_s_per_token"])
def test_a_pipeline_of_nothing_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=f"pipeline: {name} must be > 0, got 0"):
        PipeSpec(**{name: 0})
