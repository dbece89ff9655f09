"""Offloaded fine-tuning in virtual time: the world keeps to its prices, and the schedules to their time models."""

from __future__ import annotations

import itertools
import math
from statistics import median

import pytest

from headway.core.drivers import simulate
from headway.core.nouns import Resource
from headway.core.policy import Policy
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.tuning.lsp_offload import LspOffload
from headway.policies.tuning.lsp_offload_nouns import LANES, SLOT, Begin, Layer, OffloadJob, OffloadView, OpDone
from headway.policies.tuning.lsp_offload_order import PlainOffload
from headway.policies.tuning.lsp_offload_plan import layer_wise_s, phased_s, sent_bytes
from headway.sim.tuning.lsp_offload import OffloadWorld, in_memory_s, lying_world, small_world
from headway.sim.tuning.lsp_offload_truth import RANDOM_FRAC, OffloadTruth

LAYER = Layer(matrices=((512, 512), (512, 2048)), num_small=1024, forward_s=0.010, backward_s=0.020)
JOB = OffloadJob(id="j", arrival_s=0.0, layers=(LAYER,) * 8, num_steps=6)


def lanes(bytes_per_s: float, params_per_s: float) -> list[Resource]:
    traits = {
        "gpu": {"memory_bytes_per_s": 1e11},
        "down": {"bytes_per_s": bytes_per_s},
        "cpu": {"params_per_s": params_per_s},
        "up": {"bytes_per_s": bytes_per_s},
    }
    return [Resource(id=lane, kind=lane, capacity=SLOT, traits=found) for lane, found in traits.items()]


def play(policy: Policy[OffloadView], rates: tuple[float, float] = (1e8, 5e7), spread: float = 0.0) -> OffloadWorld:
    world = OffloadWorld([JOB], lanes(*rates), OffloadTruth(spread=spread))
    report = simulate(world, policy)
    assert not report.num_refused
    return world


def middle_s(world: OffloadWorld) -> float:
    return median(world.log.step_s("j")[1:])


@pytest.mark.parametrize("rates", [(1e8, 5e7), (1e9, 1e7), (3e7, 1e9)])
def test_steps_in_phases_take_what_the_model_of_zero_offload_says(rates: tuple[float, float]) -> None:
    world = play(PlainOffload(), rates)
    assert middle_s(world) == pytest.approx(phased_s(JOB, Begin("j"), world.view.resources), rel=0.02)


@pytest.mark.parametrize("rates", [(1e8, 5e7), (1e9, 1e7), (3e7, 1e9)])
def test_steps_by_layers_take_about_what_their_model_says(rates: tuple[float, float]) -> None:
    world = play(LspOffload(width=128), rates)
    expected_s = layer_wise_s(JOB, Begin("j", 128), world.view.resources)
    assert middle_s(world) == pytest.approx(expected_s, rel=0.1)


def test_offloading_by_layers_in_squares_is_quicker_than_either_alone_and_both_than_neither() -> None:
    took_s = {
        "phases": middle_s(play(PlainOffload())),
        "layers": middle_s(play(PlainOffload(order="layers"))),
        "squares": middle_s(play(PlainOffload(width=128))),
        "both": middle_s(play(LspOffload(width=128))),
    }
    assert took_s["both"] < min(took_s["layers"], took_s["squares"])
    assert max(took_s["layers"], took_s["squares"]) < took_s["phases"]
    assert took_s["both"] > in_memory_s(JOB)


def test_soonest_needed_first_is_quicker_than_first_come_first_served() -> None:
    soonest, first = (play(PlainOffload(order=order)) for order in ("layers", "arrival"))
    assert middle_s(soonest) < 0.95 * middle_s(first)


def test_bytes_are_those_of_the_plan() -> None:
    for policy, width in ((PlainOffload(), 0), (LspOffload(width=128), 128)):
        world = play(policy)
        assert world.log.num_bytes["down"] == world.log.num_bytes["up"] == 6 * sent_bytes(JOB, width)


def test_a_lane_does_one_thing_at_a_time() -> None:
    world = play(LspOffload(width=128), spread=0.3)
    for lane in LANES:
        ran = sorted((one for one in world.log.ran if one.op.lane == lane), key=lambda one: one.start_s)
        assert len(ran) > 10
        for before, after in itertools.pairwise(ran):
            assert before.end_s <= after.start_s + 1e-12


def test_all_orders_do_the_same_work_at_the_same_prices() -> None:
    one, other = play(PlainOffload(), spread=0.3), play(PlainOffload(order="layers"), spread=0.3)
    took_s = [{ran.op: ran.end_s - ran.start_s for ran in world.log.ran} for world in (one, other)]
    assert took_s[0].keys() == took_s[1].keys()
    assert all(took_s[0][op] == pytest.approx(took_s[1][op]) for op in took_s[0])


def test_projectors_are_learnt_once_and_again_when_gradients_have_turned_away() -> None:
    job = OffloadJob(id="j", arrival_s=0.0, layers=(LAYER,), num_steps=3001)
    policy = LspOffload(width=128, alpha=0.5, check_steps=500)
    world, trace = OffloadWorld([job], lanes(1e9, 1e9), OffloadTruth(spread=0.0)), MemoryTrace(100_000)
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    news = [one for one in trace.records if isinstance(one, OpDone) and not math.isnan(one.bias_frac)]
    checks = {one.op.step: one.bias_frac for one in news if one.op.what == "check"}
    learnt = {one.op.step: one.bias_frac for one in news if one.op.what == "learn"}
    assert checks[0] == RANDOM_FRAC
    assert next(iter(learnt)) == 0
    assert len(learnt) > 1
    assert all(bias_frac <= 0.5 for bias_frac in learnt.values())
    assert all((checks[step] > 0.5) == (step in learnt) for step in checks)


def test_the_lying_world_differs_only_after_the_first_job() -> None:
    def conversation(world: OffloadWorld) -> list[str]:
        policy, trace = LspOffload(), MemoryTrace(100_000)
        simulate(world, policy, session=Session(policy, world.view, trace=trace))
        return [str(record) for record in trace.records]

    honest, lying = conversation(small_world(3)[0]), conversation(lying_world(3))
    end = next(place for place, record in enumerate(honest) if record.startswith("Finished"))
    assert honest[: end + 1] == lying[: end + 1]
    assert honest != lying
