"""SlimFit in virtual time."""

from __future__ import annotations

import pytest

from headway.core.actions import Reject, Start
from headway.core.drivers import simulate
from headway.core.events import Finished
from headway.core.nouns import Resource
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.tuning.slimfit import SlimFit
from headway.policies.tuning.slimfit_board import BYTES
from headway.policies.tuning.slimfit_nouns import FreezingJob, TrainUnits, WeightUnit
from headway.sim.tuning.slimfit import HiddenRun, Recorded, Settling, SlimFitWorld, small_world
from headway.sim.tuning.slimfit_shapes import Encoder, plain_bytes, slim_job


def one_job(num_iterations: int, num_units: int = 20) -> FreezingJob:
    units = tuple(WeightUnit(f"u{nth}", 10, active_bytes=100, flops=10.0) for nth in range(num_units))
    return FreezingJob(
        id="job", kind="fine-tuning", arrival_s=1.0, units=units, num_iterations=num_iterations, shared_flops=100.0
    )


def device(num_bytes: float = 1e12) -> Resource:
    return Resource(id="gpu", kind="device", capacity={BYTES: num_bytes}, traits={"flops_per_s": 10.0})


def test_an_iteration_takes_what_it_computes() -> None:
    work = one_job(num_iterations=3)
    world = SlimFitWorld([HiddenRun(job=work, dynamics=Settling(20, 3))], [device()])
    trace = MemoryTrace()
    policy = SlimFit(freeze_frac=0.9)
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    (end,) = (event for event in trace.records if isinstance(event, Finished))
    assert end.at_s == pytest.approx(1.0 + 3 * (100 + 2 * 10) / 10)
    assert world.peak_bytes["job"] == work.bytes_at(0.9)
    assert sum(world.trained["job"]) == 3 * 2
    assert not world.view.jobs
    assert world.view.free("gpu") == {BYTES: 1e12}


def test_iterations_of_two_jobs_share_a_device_by_turns() -> None:
    runs = []
    for name in "ab":
        job = slim_job(Encoder(batch=1, sequence=8, num_layers=1, width=8, num_heads=2, inner=32), name, 4)
        runs.append(HiddenRun(job=job, dynamics=Settling(len(job.units), 4)))
    world, policy, trace = SlimFitWorld(runs, [device()]), SlimFit(), MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    turns = [action.job for action in trace.actions if isinstance(action, TrainUnits)]
    assert turns == ["a", "b"] * 4


def test_the_small_world_has_one_that_freezes_more_and_one_that_is_rejected() -> None:
    (world, _), policy, trace = small_world(0), SlimFit(freeze_frac=0.0), MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert [action.id for action in trace.actions if isinstance(action, Reject)] == ["job-3"]
    starts = [action.id for action in trace.actions if isinstance(action, Start)]
    assert sorted(starts) == ["job-0", "job-1", "job-2", "job-4"]
    sizes = {action.job: len(action.active) for action in trace.actions if isinstance(action, TrainUnits)}
    assert sizes["job-2"] < 24
    assert sizes["job-0"] <= 24


def test_units_settle_and_others_take_their_turn() -> None:
    counts = {}
    for name in ("change", "dice", "last"):
        job = one_job(num_iterations=200)
        world = SlimFitWorld([HiddenRun(job=job, dynamics=Settling(20, 200, seed=1))], [device()])
        simulate(world, SlimFit(schedule=name))
        counts[name] = world.trained["job"]
    assert min(counts["change"]) >= 1
    assert max(counts["change"]) > 3 * min(counts["change"])  # those that move are trained more often
    assert sum(count == 0 for count in counts["last"]) == 18
    assert max(counts["dice"]) < 3 * min(counts["dice"])


def test_changes_do_not_depend_on_who_asks() -> None:
    dynamics = Settling(5, 100, seed=3)
    assert dynamics.change(2, 4, 7) == dynamics.change(2, 4, 7)
    assert dynamics.change(2, 5, 7) < dynamics.change(2, 4, 7)
    assert dynamics.change(2, 4, 100) == 0.0


def test_a_recording_is_played_as_it_was() -> None:
    recorded = Recorded({(0, 3): 0.5})
    assert recorded.change(0, 99, 3) == 0.5
    with pytest.raises(KeyError):
        recorded.change(1, 0, 3)


def test_bert_base_has_its_published_size_and_units() -> None:
    bert = Encoder(batch=32, sequence=128, vocabulary=28996, num_positions=512, dropout=True)
    units = list(bert.units())
    assert len(units) == 102
    assert sum(unit.num_weights for unit in units) + bert.num_biases == pytest.approx(108.3e6, rel=1e-3)
    vit = list(Encoder(batch=32, sequence=197, num_classes=10).units())
    assert sum(unit.num_weights for unit in vit) == pytest.approx(85.8e6, rel=2e-3)


def test_memory_falls_as_more_is_frozen_and_is_below_that_of_plain_layers() -> None:
    bert = Encoder(batch=32, sequence=128, vocabulary=28996, num_positions=512, dropout=True)
    job = slim_job(bert, "job", 1)
    sizes = [job.bytes_at(rate) for rate in (0.0, 0.5, 0.8, 0.9, 0.95)]
    assert sizes == sorted(sizes, reverse=True)
    assert plain_bytes(bert, fused_attention=True) < plain_bytes(bert)
    assert sizes[-1] < plain_bytes(bert) / 2
