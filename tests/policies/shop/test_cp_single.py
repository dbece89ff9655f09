from __future__ import annotations

import math
from itertools import accumulate, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.cp_single import is_plain_single
from headway.policies.shop.making import single_machine
from headway.policies.shop.problem import Downtime

JOB = st.tuples(st.integers(1, 9), st.integers(0, 25), st.sampled_from([0, 0.5, 1, 2, 5]))


@settings(deadline=None, max_examples=40)
@given(jobs=st.lists(JOB, min_size=1, max_size=6), is_weighted=st.booleans())
def test_the_best_of_all_orders_is_found_and_proven(jobs: list[tuple[int, int, float]], is_weighted: bool) -> None:
    durations, due, weights = zip(*jobs, strict=True)
    problem = single_machine("all", durations, due, weights if is_weighted else None)
    counts = weights if is_weighted else (1.0,) * len(jobs)
    best = min(
        sum(counts[job] * max(end - due[job], 0) for job, end in zip(order, ends, strict=True))
        for order in permutations(range(len(jobs)))
        for ends in [list(accumulate(durations[job] for job in order))]
    )
    found = CpSat(workers=1).solve(problem, budget_s=20, rng=np.random.default_rng(0))
    assert is_plain_single(problem)
    assert (found.status, found.objective) == ("optimal", pytest.approx(best))


def test_ten_jobs_are_ordered_at_once() -> None:
    rng = np.random.default_rng(3)
    durations = rng.integers(1, 100, 10).tolist()
    due = rng.integers(50, 350, 10).tolist()
    found = CpSat(workers=1).solve(
        single_machine("ten", durations, due, rng.integers(1, 11, 10).tolist()), budget_s=20, rng=rng
    )
    assert found.status == "optimal"


def test_a_downtime_or_a_release_is_no_plain_single_machine() -> None:
    plain = single_machine("plain", [3, 4], [5, 5])
    assert not is_plain_single(replace(plain, downtimes=(Downtime(0, 1, 2),)))
    assert not is_plain_single(replace(plain, tasks=(replace(plain.tasks[0], release=1), plain.tasks[1])))
    assert not is_plain_single(replace(plain, objective="makespan"))


@pytest.mark.parametrize("unit", [1e-7, 1.0, 1e9])
def test_weights_count_however_small_or_large_their_unit(unit: float) -> None:
    weights = [3 * unit, 1 * unit, 0.2 * unit]
    found = CpSat(workers=1).solve(
        single_machine("three", [3, 2, 4], [0, 0, 0], weights), budget_s=20, rng=np.random.default_rng(0)
    )
    assert found.schedule is not None
    assert found.schedule.starts == (0, 3, 5)
    assert found.objective == pytest.approx(15.8 * unit)
    assert found.bound == pytest.approx(15.8 * unit)


def test_weights_that_must_be_rounded_prove_what_they_can() -> None:
    problem = single_machine("two", [3, 2], [0, 0], [math.pi, math.e * 1e-9])
    found = CpSat(workers=1).solve(problem, budget_s=20, rng=np.random.default_rng(0))
    assert found.status == "feasible"
    assert found.bound is not None
    assert found.objective is not None
    assert found.bound <= 3 * math.pi + 5e-9 * math.e == pytest.approx(found.objective)
    assert found.bound == pytest.approx(found.objective, rel=1e-4)
