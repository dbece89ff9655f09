from __future__ import annotations

from pathlib import Path

import pytest

from headway.app.calibrate.calibration import calibration_of
from headway.app.calibrate.fit import shape_of
from headway.app.calibrate.recording import read_recording
from headway.core import catalogue
from headway.core.drivers import simulate
from headway.core.errors import ConfigError, TraceError
from headway.core.session import Session
from headway.core.trace import FileTrace, TraceHeader
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.state import InstanceState
from headway.sim.serving.cost.fitted import FittedPrice
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.world import ServingWorld

PRICE = FittedPrice(
    knots=((1, 4e-3), (32, 5e-3), (256, 2e-2), (1024, 7e-2)), decode_s=5e-5, context_s=2e-7, chunk_s=2e-4, pair_s=3e-8
)
FACTS: dict[str, str | int] = {"model": "made", "num_layers": 8, "num_blocks": 400, "block_size": 16, "max_seqs": 32}


def record(path: Path, policy: str, num_blocks: int = 400, rate_per_s: float = 30.0) -> ServingWorld:
    """Record a run in virtual time, in which what every step costs is known."""
    requests = RandomRequests(rate_per_s=rate_per_s).draw(0)
    world = ServingWorld(requests, [InstanceState("engine", BlockPool(num_blocks), num_layers=8)], PRICE)
    decider = catalogue.build(policy, {})
    with FileTrace(path, TraceHeader(family="serving", policy=policy, facts=FACTS)) as trace:
        simulate(world, decider, session=Session(decider, world.view, trace=trace))
    return world


@pytest.mark.parametrize("policy", ["serving/orca", "serving/vllm", "serving/sarathi"])
def test_every_step_is_read_as_it_was_priced(tmp_path: Path, policy: str) -> None:
    world = record(tmp_path / "run.jsonl", policy)
    found = read_recording(tmp_path / "run.jsonl")
    assert found.num_unclear == 0
    assert len(found.steps) > 50
    for step in found.steps:
        assert PRICE.step_s(shape_of(step)) == pytest.approx(step.took_s, rel=2e-3)
    assert sum(step.took_s * step.num_runs for step in found.steps) == pytest.approx(world.busy_s["engine"])


def test_steps_with_somebody_who_was_preempted_are_left_out(tmp_path: Path) -> None:
    record(tmp_path / "run.jsonl", "serving/vllm", num_blocks=48, rate_per_s=60)
    found = read_recording(tmp_path / "run.jsonl")
    assert found.num_unclear > 0
    for step in found.steps:
        assert PRICE.step_s(shape_of(step)) == pytest.approx(step.took_s, rel=2e-3)


def test_requests_are_timed_by_the_ends_of_their_steps(tmp_path: Path) -> None:
    record(tmp_path / "run.jsonl", "serving/sarathi")
    found = read_recording(tmp_path / "run.jsonl")
    assert found.sent
    assert all(sent.arrival_s < sent.first_s <= sent.last_s for sent in found.sent.values())


def test_a_recording_becomes_a_calibration(tmp_path: Path) -> None:
    record(tmp_path / "run.jsonl", "serving/sarathi")
    made = calibration_of(read_recording(tmp_path / "run.jsonl"))
    assert (made.num_layers, made.num_kv_tokens, made.block_size, made.max_seqs) == (8, 6400, 16, 32)
    assert made.errors["p90_frac"] < 0.06
    assert made.overheads == {}


def test_a_recording_of_an_unknown_engine_says_so(tmp_path: Path) -> None:
    with FileTrace(tmp_path / "run.jsonl", TraceHeader(family="serving")):
        pass
    with pytest.raises(ConfigError, match="must be of a live engine and say its num_layers"):
        calibration_of(read_recording(tmp_path / "run.jsonl"))


def test_another_file_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(TraceError, match="must be a trace header"):
        read_recording(tmp_path / "notes.txt")
