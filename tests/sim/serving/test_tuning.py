"""Fine-tuning beside serving in virtual time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Changed, Event, Failed
from headway.core.nouns import Seconds
from headway.core.policy import Policy
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.jobs import JobState
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import (
    JobArrived,
    JobFinished,
    Microbatch,
    Request,
    RequestFinished,
    Step,
    StepDone,
    TuneJob,
    TuneUnit,
)
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.sim.serving.cost import replica
from headway.sim.serving.cost.tuning import RooflineUnits
from headway.sim.serving.outages import Outage
from headway.sim.serving.price import BatchShape, Chunk, LinearPrice, StepPrice
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.side_by_side import ends_of_two
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.tuning import Tuning
from headway.sim.serving.units import ChunkUnits, TrueJob, UnitPrice, UnitShape
from headway.sim.serving.world import ServingWorld
from sim.serving.tuners import Always, Rash

LAYERS = 8
PRICE = LinearPrice()
UNITS = ChunkUnits(PRICE, LAYERS)


def a_job(num: int = 6, tokens: int = 64, arrival_s: Seconds = 0.0, kv_blocks: int = 4, **more: int) -> TrueJob:
    batches = [Microbatch(tokens + 8 * n, updates=n % 3 == 2) for n in range(num)] + [Microbatch(tokens, trains=False)]
    job = TuneJob(id="tune", arrival_s=arrival_s, num_layers=LAYERS, microbatches=tuple(batches), kv_blocks=kv_blocks)
    return TrueJob(job=job, **more)


def a_request(name: str = "r", prompt: int = 40, output: int = 5, arrival_s: Seconds = 0.0) -> TrueRequest:
    request = Request(id=name, arrival_s=arrival_s, prompt_tokens=prompt, max_tokens=output)
    return TrueRequest(request=request, output_tokens=output)


def a_world(
    requests: Sequence[TrueRequest],
    job: TrueJob,
    *,
    num_blocks: int = 80,
    until_done: bool = False,
    price: StepPrice = PRICE,
    units: UnitPrice = UNITS,
    disturb_frac: float = 0.0,
    outages: Sequence[Outage] = (),
    num: int = 1,
) -> ServingWorld:
    instances = [InstanceState(f"i{n}", BlockPool(num_blocks), LAYERS) for n in range(num)]
    tuning = Tuning(
        [job], {i.id: units for i in instances}, disturb_frac=disturb_frac, noise_frac=0.0, until_done=until_done
    )
    return ServingWorld(requests, instances, price, tuning=tuning, outages=outages)


def played(world: ServingWorld, policy: Policy[ServingView], seed: int = 0) -> list[object]:
    trace = MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, seed=seed, trace=trace))
    return list(trace.records)


def steps_of(records: Sequence[object]) -> list[tuple[Step, StepDone]]:
    """Pair the steps of one instance with their ends."""
    found, step = [], None
    for record in records:
        if isinstance(record, Step):
            step = record
        elif isinstance(record, StepDone):
            assert step is not None
            found.append((step, record))
    return found


def test_a_unit_follows_the_pieces_whose_tokens_are_there_before_it() -> None:
    records = played(a_world([a_request(output=3)], a_job(), until_done=True), Always(num_layers=2))
    seen = 0
    for step, done in steps_of(records):
        if not step.tune:  # the first came before the job was placed
            assert done.tune_s == 0
            assert done.pieces_s is None
            continue
        shape = a_job().shape_of(step.tune[0])
        assert done.tune_s == pytest.approx(UNITS.unit_s(shape))
        assert done.step_s == pytest.approx((done.pieces_s or 0.0) + done.tune_s)
        assert bool(done.pieces_s) == bool(step.pieces)
        seen += bool(step.pieces)
    assert seen == 2
    (finished,) = [record for record in records if isinstance(record, RequestFinished)]
    ends = [done.at_s - done.tune_s for step, done in steps_of(records) if step.pieces]
    assert len(ends) == 3
    assert finished.at_s == pytest.approx(ends[-1])
    assert finished.ttft_s == pytest.approx(ends[0])


@pytest.mark.parametrize("share", [0.75, 0.4])
def test_side_by_side_each_takes_what_its_share_and_the_bandwidth_leave_it(share: float) -> None:
    made = replica("qwen2.5-0.5b", "a100")
    price = made.price
    units = RooflineUnits(price)  # type: ignore[arg-type]
    world = a_world(
        [a_request(prompt=64, output=4)], a_job(), price=price, units=units, disturb_frac=0.25, until_done=True
    )
    records = played(world, Always(num_layers=3, share=share))
    decodes = 0
    for step, done in steps_of(records):
        if not step.pieces or done.num_tokens > 1 or not step.tune:
            continue
        shape = BatchShape(1, 64 + decodes, share=share)
        unit = a_job().shape_of(step.tune[0], 1 - share)
        beside = units.unit_s(unit), units.unit_reads_frac(unit)
        ends = ends_of_two((price.step_s(shape), price.reads_frac(shape)), beside, 0.25)  # type: ignore[attr-defined]
        assert (done.pieces_s, done.tune_s) == pytest.approx(ends)
        assert done.step_s == pytest.approx(max(ends))
        decodes += 1
    assert decodes == 3


def test_a_fused_step_reads_weights_once_and_hands_tokens_out_at_its_end() -> None:
    both = []
    for way in (False, True):
        world = a_world([a_request(output=2, arrival_s=1e-3)], a_job(), until_done=True)
        records = played(world, Always(num_layers=4, fused=way))
        both.append(next((step, done) for step, done in steps_of(records) if step.pieces))
    (step, one), (_, other) = both
    assert step.tune
    assert step.tune[0].layers == (4, 8)
    together_s = PRICE.step_s(BatchShape(0, 0, (Chunk(40, 0), Chunk(64, 0, 0.5))))
    assert other.step_s == pytest.approx(together_s)  # LinearPrice reads weights in its fixed time
    assert one.step_s - other.step_s > 0.4 * PRICE.fixed_s
    assert other.pieces_s == other.tune_s == pytest.approx(other.step_s)


def test_units_of_one_step_add_up_and_the_next_step_goes_on_after_them() -> None:
    world = a_world([a_request(arrival_s=1e-3)], a_job(num=2), until_done=True)
    records = played(world, Always(num_layers=6, num_units=5))
    carried = [(step.tune, done.tune_s) for step, done in steps_of(records) if step.tune]
    assert [len(units) for units, _ in carried] == [5, 5]  # two microbatches of four units, and two that validate
    assert {unit.microbatch for unit in carried[0][0]} == {0, 1}
    for units, took_s in carried:
        assert took_s == pytest.approx(sum(UNITS.unit_s(a_job(num=2).shape_of(unit)) for unit in units))


def test_a_run_ends_with_its_last_request_and_jobs_are_counted_until_then() -> None:
    world = a_world([a_request(output=4), a_request("s", arrival_s=0.5)], a_job(num=1000))
    records = played(world, Always(num_layers=LAYERS))
    assert isinstance(records[-1], RequestFinished)
    assert not any(isinstance(record, JobFinished) for record in records)
    state = world.view.jobs["tune"]
    assert 0 < state.trained_tokens == sum(64 + 8 * n for n in range(state.microbatch))


def test_an_option_goes_on_until_the_jobs_are_done() -> None:
    world = a_world([a_request()], a_job(num=30, arrival_s=2.0), until_done=True)
    records = played(world, Always(num_layers=LAYERS))
    (finished,) = [record for record in records if isinstance(record, JobFinished)]
    (arrived,) = [record for record in records if isinstance(record, JobArrived)]
    assert arrived.at_s == 2.0
    assert finished.at_s == world.view.now_s
    assert finished.trained_tokens == sum(64 + 8 * n for n in range(30))
    assert not world.view.jobs
    assert world.view.instances["i0"].kv.num_free == 80


def test_a_job_to_come_keeps_nobody_waiting() -> None:
    records = played(a_world([a_request()], a_job(arrival_s=1e6)), Stack(batch=SarathiServe()))
    assert isinstance(records[-1], RequestFinished | StepDone)
    assert records[-1].at_s < 10


def test_placing_a_job_ends_what_is_repeated() -> None:
    policy = Always(num_layers=1)
    records = played(a_world([a_request(output=200)], a_job(arrival_s=0.5)), policy)
    first = next(step for step, _ in steps_of(records) if step.tune)
    begun = next(done.at_s - done.step_s for step, done in steps_of(records) if step is first)
    assert 0.5 <= begun < 0.6


def test_numbers_tell_of_tokens_memory_and_what_was_begun_again() -> None:
    world = a_world([a_request()], a_job(), until_done=True)
    played(world, Always(num_layers=LAYERS))
    tuning = world._tuning
    assert tuning is not None
    numbers = tuning.numbers((), world.view.now_s, world.view.now_s)
    assert numbers["tune_tokens"] == sum(64 + 8 * n for n in range(6))
    assert numbers["tune_tokens_per_s"] == pytest.approx(numbers["tune_tokens"] / world.view.now_s)
    assert numbers["tune_steps"] == 2
    assert numbers["tune_units"] == 6 * 2 + 2 + 1
    assert numbers["tune_most_lent_blocks"] == pytest.approx(numbers["tune_lent_blocks"]) == 4
    assert numbers["tune_jobs_done"] == 1
    assert numbers["tune_dropped"] == 0


def test_a_failed_instance_loses_the_microbatch_and_no_more() -> None:
    world = a_world(
        [a_request(output=50)], a_job(), until_done=True, outages=[Outage(instance="i0", at_s=0.05, lasts_s=0.1)]
    )
    records = played(world, Always(num_layers=3))
    assert sum(isinstance(record, Changed) for record in records) == 2
    (finished,) = [record for record in records if isinstance(record, JobFinished)]
    assert finished.trained_tokens == sum(64 + 8 * n for n in range(6))


def test_two_jobs_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="jobs must differ in name"):
        Tuning([a_job(), a_job()], {})
    with pytest.raises(ConfigError, match="noise_frac in"):
        Tuning([], {}, noise_frac=1.0)


class Watch:
    """Looks at the books after every event."""

    def __init__(self, world: ServingWorld) -> None:
        self.world = world
        self.units = list[tuple[int, str, int]]()

    def on_event(self, event: Event) -> None:
        for instance in self.world.view.instances.values():
            check_books(self.world, instance)


def check_books(world: ServingWorld, instance: InstanceState) -> None:
    """Every block is free, lent, or held by as many requests as its count says."""
    kv, holders = instance.kv, instance.kv.holders()
    held = np.zeros(kv.num_blocks, int)
    for state in world.view.requests.values():
        if state.instance == instance.id:
            held[state.blocks] += 1
    assert not held[instance.tune_blocks].any()
    held[instance.tune_blocks] += 1
    assert tuple(held) == holders
    assert kv.num_free == kv.num_blocks - int((held > 0).sum())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 30), num_blocks=st.integers(40, 90), num=st.integers(1, 2), fails=st.booleans())
@example(seed=1 << 30, num_blocks=40, num=2, fails=False)
def test_whatever_a_policy_does_books_stay_whole_and_jobs_lose_no_step(
    seed: int, num_blocks: int, num: int, fails: bool
) -> None:
    requests = RandomRequests(num_requests=25).draw(seed)
    outages = [Outage(instance="i0", at_s=0.3, lasts_s=0.2)] if fails else []
    world = a_world(requests, a_job(), num_blocks=num_blocks, num=num, until_done=True, outages=outages)
    policy, trace = Rash(), MemoryTrace()
    session = Session(policy, world.view, seed=seed, trace=trace, instruments=[Watch(world)])
    simulate(world, policy, session=session)
    records = list(trace.records)
    ended = [record.id for record in records if isinstance(record, RequestFinished | Failed)]
    assert sorted(ended) == sorted(true.request.id for true in requests)
    (finished,) = [record for record in records if isinstance(record, JobFinished)]
    assert finished.trained_tokens == sum(64 + 8 * n for n in range(6))
    assert world._tuning is not None
    assert world._tuning.num_updates == 2


def test_fine_tuning_costs_nothing_where_there_is_none() -> None:
    """To the last bit: steps that carry nothing are those of a world without jobs."""
    requests = RandomRequests(num_requests=30).draw(3)
    with_jobs = a_world(requests, a_job(arrival_s=1e6))
    without = ServingWorld(requests, [InstanceState("i0", BlockPool(80), LAYERS)], PRICE)
    told = [
        [record for record in played(world, Stack(batch=SarathiServe())) if isinstance(record, RequestFinished)]
        for world in (with_jobs, without)
    ]
    assert told[0] == told[1]


def test_scatter_is_drawn_from_the_seed() -> None:
    first, second = (Tuning([], {}, noise_frac=0.05, seed=seed) for seed in (1, 1))
    factors = [first.scatter() for _ in range(500)]
    assert factors == [second.scatter() for _ in range(500)]
    assert np.std(np.log(factors)) == pytest.approx(0.05, rel=0.2)
    assert Tuning([], {}).scatter() == 1.0


def test_layers_of_the_last_range_bring_the_head() -> None:
    true = a_job()
    units = [true.shape_of(unit) for unit in units_of(true.job, 3)]
    assert [unit.at_head for unit in units] == [False, False, True, True, False, False]
    assert [unit.num_layers for unit in units] == [3, 3, 2, 3, 3, 2]
    assert isinstance(units[0], UnitShape)


def units_of(job: TuneJob, num_layers: int) -> list[TuneUnit]:
    """The units of its first microbatch."""
    state, found = JobState(job), list[TuneUnit]()
    while state.microbatch == 0:
        unit = state.next_unit(num_layers)
        assert unit is not None
        found.append(unit)
        state.take(unit)
    return found
