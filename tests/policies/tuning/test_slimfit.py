"""SlimFit's decisions: what is trained next, how much memory that takes, who gets it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Preempt, Reject, Start
from headway.core.errors import ConfigError
from headway.core.events import Arrived
from headway.core.nouns import Resource
from headway.policies.tuning.slimfit import SlimFit
from headway.policies.tuning.slimfit_board import BYTES, FreezingBoard
from headway.policies.tuning.slimfit_nouns import FreezingJob, TrainUnits, UnitsTrained, WeightUnit
from headway.policies.tuning.slimfit_schedule import FAR, ByChange, schedule

CHANGES = st.floats(0.0, 1e6)


def job(num_units: int = 10, freeze_frac: float | None = None, resident_bytes: int = 0) -> FreezingJob:
    units = tuple(WeightUnit(f"u{nth}", 10, active_bytes=100, frozen_bytes=10) for nth in range(num_units))
    return FreezingJob(
        id="job",
        kind="fine-tuning",
        arrival_s=0.0,
        units=units,
        num_iterations=5,
        static_bytes=1000,
        resident_bytes=resident_bytes,
        freeze_frac=freeze_frac,
    )


def board(*capacities: float) -> FreezingBoard:
    return FreezingBoard(
        [Resource(id=f"d{nth}", kind="device", capacity={BYTES: one}) for nth, one in enumerate(capacities)]
    )


def answer(policy: SlimFit, view: FreezingBoard, work: FreezingJob) -> list[object]:
    policy.reset(np.random.default_rng(0))
    view.add(work)
    return list(policy.decide(Arrived(at_s=0.0, work=work), view))


@settings(deadline=None)
@given(st.lists(CHANGES, min_size=2, max_size=40), st.data())
def test_the_units_that_changed_most_are_trained(changes: list[float], data: st.DataObject) -> None:
    num_frozen = data.draw(st.integers(0, len(changes) - 1))
    one = ByChange(len(changes), num_frozen, np.random.default_rng(0))
    one.learn(range(len(changes)), changes)
    active = one.active()
    frozen = set(range(len(changes))) - set(active)
    assert len(active) == len(changes) - num_frozen
    assert list(active) == sorted(active)
    assert all(one.distances[frozen_one] <= min(one.distances[list(active)]) for frozen_one in frozen)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(0, 2**31), st.data())
def test_every_unit_is_trained_before_any_is_trained_again(num_units: int, seed: int, data: st.DataObject) -> None:
    num_frozen = data.draw(st.integers(0, num_units - 1))
    num_active = num_units - num_frozen
    one = ByChange(num_units, num_frozen, np.random.default_rng(seed))
    seen: list[int] = []
    for _ in range(num_units // num_active):
        active = one.active()
        seen += active
        one.learn(active, data.draw(st.lists(CHANGES, min_size=num_active, max_size=num_active)))
    assert len(seen) == len(set(seen))


@settings(deadline=None)
@given(st.integers(2, 20), st.integers(0, 2**31), st.floats(0.0, 10.0))
def test_ties_starve_nobody(num_units: int, seed: int, change: float) -> None:
    one = ByChange(num_units, num_units - 1, np.random.default_rng(seed))
    turns = []
    for _ in range(3 * num_units):
        (unit,) = one.active()
        turns.append(unit)
        one.learn([unit], [change])
    assert {turns.count(unit) for unit in range(num_units)} == {3}


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(0, 1000), st.data())
def test_a_unit_is_trained_again_once_the_others_have_settled_below_it(n: int, seed: int, data: st.DataObject) -> None:
    one = ByChange(n, n - 1, np.random.default_rng(seed))
    scales = data.draw(st.lists(st.floats(0.1, 10.0), min_size=n, max_size=n))
    counts = [0] * n
    for _ in range(60 * n):
        (unit,) = one.active()
        counts[unit] += 1
        one.learn([unit], [scales[unit] / counts[unit]])  # each settles as it is trained
    last = [scale / count for scale, count in zip(scales, counts, strict=True)]
    assert min(counts) >= 1
    assert max(last) / min(last) < 4 or min(counts) < 3  # water-filling: all settle to about the same


def test_first_distances_are_far_above_what_is_measured() -> None:
    distances = ByChange(1000, 900, np.random.default_rng(0)).distances
    assert 0.4 * FAR < distances.mean() < 0.6 * FAR


@pytest.mark.parametrize("change", [math.nan, math.inf])
def test_what_is_no_number_is_trained_again(change: float) -> None:
    one = ByChange(4, 3, np.random.default_rng(0))
    one.learn(range(4), [1.0, change, 3.0, 2.0])
    assert one.active() == (1,)
    one.learn([1], [0.5])
    assert one.active() == (2,)


def test_baselines_draw_dice_or_take_the_last() -> None:
    dice = schedule("dice", 50, 45, np.random.default_rng(0))
    drawn = [dice.active() for _ in range(20)]
    assert all(len(one) == 5 for one in drawn)
    assert len(set(drawn)) > 15
    assert schedule("last", 5, 3, np.random.default_rng(0)).active() == (3, 4)


@pytest.mark.parametrize(("rate", "num"), [(0.0, 0), (0.29, 29), (0.9, 90), (0.95, 95), (0.999, 99)])
def test_the_number_of_frozen_units_is_rounded_down(rate: float, num: int) -> None:
    assert job(100).num_frozen(rate) == num


def test_memory_is_what_stays_and_what_is_trained() -> None:
    work = job(10, resident_bytes=5000)
    assert work.peak_bytes([0]) == 5000 + 1000 + 9 * 10 + (100 + 40)
    assert work.bytes_at(0.9) == work.peak_bytes([3])
    assert work.bytes_at(0.0) == work.peak_bytes(range(10))


def test_units_that_read_the_same_keep_it_once() -> None:
    units = tuple(WeightUnit(name, 1, active_bytes=100, reads="hidden") for name in ("q", "k", "v"))
    work = FreezingJob(id="job", kind="fine-tuning", arrival_s=0.0, units=units, num_iterations=1)
    assert work.peak_bytes([0, 1, 2]) == 100 + 3 * 4
    assert work.peak_bytes([1]) == 100 + 4


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.integers(0, 500), st.integers(0, 500), st.sampled_from("ab")), min_size=1
    ),
    st.data(),
)
def test_a_lease_suffices_for_any_choice(sizes: list[tuple[int, int, int, str]], data: st.DataObject) -> None:
    units = tuple(WeightUnit("u", weights, kept, frozen, reads) for weights, kept, frozen, reads in sizes)
    work = FreezingJob(id="job", kind="fine-tuning", arrival_s=0.0, units=units, num_iterations=1)
    active = data.draw(st.sets(st.integers(0, len(units) - 1), min_size=1))
    assert work.peak_bytes(active) <= work.most_bytes(len(active))


def test_a_job_that_fits_starts_at_once() -> None:
    view, policy = board(1e6), SlimFit(freeze_frac=0.8)
    start, train = answer(policy, view, job())
    assert start == Start("job", {"d0": {BYTES: float(job().bytes_at(0.8))}})
    assert isinstance(train, TrainUnits)
    assert len(train.active) == 2


def test_its_users_rate_comes_first() -> None:
    _, train = answer(SlimFit(freeze_frac=0.9), board(1e6), job(freeze_frac=0.5))
    assert isinstance(train, TrainUnits)
    assert len(train.active) == 5


def test_where_memory_is_short_more_is_frozen() -> None:
    work = job(100)
    _, train = answer(SlimFit(freeze_frac=0.5), board(work.bytes_at(0.9)), work)
    assert isinstance(train, TrainUnits)
    assert len(train.active) == 10


def test_what_never_fits_is_rejected_with_its_size() -> None:
    work = job(100)
    (reject,) = answer(SlimFit(), board(work.bytes_at(0.95) - 1), work)
    assert isinstance(reject, Reject)
    assert str(work.bytes_at(0.95)) in reject.why


def test_distances_are_those_of_the_units_that_were_trained() -> None:
    view, policy = board(1e6), SlimFit(freeze_frac=0.9)
    start, train = answer(policy, view, job())
    assert isinstance(start, Start)
    assert isinstance(train, TrainUnits)
    assert view.apply(start) is None
    for turn in range(10):
        assert view.apply(train) is None
        view.end_iteration("job")
        change = 5.0 if turn == 3 else 1.0
        favourite = train.active if turn == 3 else ()
        done = UnitsTrained(at_s=1.0, job="job", active=train.active, changes=(change,), took_s=1.0)
        (train,) = policy.decide(done, view)
        assert isinstance(train, TrainUnits)
        if favourite:
            wanted = favourite
    assert train.active == wanted


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (TrainUnits("nobody", (0,)), "no memory"),
        (TrainUnits("job", ()), "units must rise"),
        (TrainUnits("job", (1, 1)), "units must rise"),
        (TrainUnits("job", (2, 1)), "units must rise"),
        (TrainUnits("job", (-1, 1)), "units must rise"),
        (TrainUnits("job", (10,)), "units must rise"),
        (TrainUnits("job", (0, 1, 2)), "these units take"),
        (Preempt("job"), "cannot be taken back"),
        (Start("job", {"d0": {BYTES: 1.0}}), "not waiting"),
        (Start("job", {}), "one device"),
    ],
)
def test_what_is_impossible_is_refused_and_changes_nothing(action: TrainUnits | Preempt | Start, why: str) -> None:
    view = board(1e6)
    view.add(job())
    assert view.apply(Start("job", {"d0": {BYTES: float(job().most_bytes(2))}})) is None
    before = view.fingerprint()
    assert why in (view.apply(action) or "")
    assert view.fingerprint() == before
    assert view.apply(TrainUnits("job", (0, 9))) is None
    assert "under way" in (view.apply(TrainUnits("job", (0,))) or "")


@pytest.mark.parametrize("wrong", [{"freeze_frac": 1.0}, {"max_freeze_frac": -0.1}, {"schedule": "first"}])
def test_parameters_out_of_range_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"tuning/slimfit: {next(iter(wrong))} must be"):
        SlimFit(**wrong)  # type: ignore[arg-type]
