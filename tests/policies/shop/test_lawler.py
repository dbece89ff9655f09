"""Lawler's decomposition, against the dynamic program over subsets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from headway.core.errors import ConfigError
from headway.policies.shop.lawler import Lawler
from headway.policies.shop.making import single_machine
from headway.policies.shop.problem import Problem
from headway.policies.shop.schedule import faults
from headway.policies.shop.smtt_eddc_mddc import SmttEddcMddc
from headway.policies.shop.subset_dp import SubsetDp
from headway.sim.shop.instances.due_classes import class_of, generated

jobs = st.lists(st.tuples(st.integers(0, 12), st.integers(-5, 60)), min_size=1, max_size=10)


def problem_of(num_jobs: int, number: int, seed: int) -> Problem:
    p, d = generated(num_jobs, *class_of(number), np.random.default_rng(seed))
    return single_machine("made up", p.astype(int).tolist(), d.astype(int).tolist())


@settings(max_examples=150, deadline=None)
@given(jobs)
def test_it_finds_what_the_dynamic_program_finds(pairs: list[tuple[int, int]]) -> None:
    problem = single_machine("x", *(list(column) for column in zip(*pairs, strict=True)))
    rng = np.random.default_rng(0)
    ours, theirs = (solver.solve(problem, budget_s=9, rng=rng) for solver in (Lawler(), SubsetDp()))
    assert ours.status == "optimal"
    assert ours.objective == theirs.objective == ours.bound
    assert ours.schedule is not None
    assert faults(problem, ours.schedule) == []


@pytest.mark.parametrize("number", range(0, 20, 3))
def test_a_hundred_jobs_are_no_trouble(number: int) -> None:
    problem, rng = problem_of(100, number, seed=number), np.random.default_rng(0)
    found = Lawler().solve(problem, budget_s=20, rng=rng)
    rule = SmttEddcMddc().solve(problem, budget_s=1, rng=rng)
    assert found.status == "optimal"
    assert found.objective is not None
    assert rule.objective is not None
    assert found.objective <= rule.objective


def test_a_small_memory_costs_time_alone() -> None:
    problem, rng = problem_of(40, 10, seed=1), np.random.default_rng(0)
    small, large = (Lawler(max_states=num).solve(problem, budget_s=20, rng=rng) for num in (1024, 1 << 22))
    assert small.status == large.status == "optimal"
    assert small.objective == large.objective


def test_without_time_the_best_of_two_rules_is_the_answer() -> None:
    problem, rng = problem_of(400, 10, seed=2), np.random.default_rng(0)
    found = Lawler().solve(problem, budget_s=0, rng=rng)
    assert found.status == "feasible"
    assert found.bound is None
    assert found.schedule is not None
    assert faults(problem, found.schedule) == []
    again = Lawler().solve(problem, budget_s=0, rng=rng, start=found.schedule)
    assert again.objective == found.objective


def test_weights_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="must be total tardiness, got one of unequal weights"):
        Lawler().solve(single_machine("x", [1, 2], [0, 0], [1.0, 2.0]), budget_s=1, rng=rng)
    assert Lawler().solve(single_machine("x", [1, 2], [0, 0], [3.0, 3.0]), budget_s=1, rng=rng).objective == 12.0
    with pytest.raises(ConfigError, match="max_states must be >= 1024"):
        Lawler(max_states=1)


@pytest.mark.parametrize("solver", [Lawler(), SubsetDp()])
@pytest.mark.parametrize("got", ["deadlines", "room before what is under way"])
def test_what_no_order_alone_settles_is_refused(solver: Lawler | SubsetDp, got: str) -> None:
    problem = single_machine("three", [4, 2, 6], [4, 5, 6])
    if got == "deadlines":
        jobs = (*problem.jobs[:2], replace(problem.jobs[2], deadline=6))
        problem = replace(problem, jobs=jobs)
    else:  # the others could run before it
        problem = replace(problem, tasks=(*problem.tasks[:2], replace(problem.tasks[2], fixed_start=20)))
    with pytest.raises(ConfigError, match=got):
        solver.solve(problem, budget_s=5, rng=np.random.default_rng(0))


def test_times_that_it_could_not_tell_apart_are_refused() -> None:
    problem = single_machine("long", [10**9] * 9, [0] * 9)
    with pytest.raises(ConfigError, match="must end before 8589934592, got 9000000000"):
        Lawler().solve(problem, budget_s=5, rng=np.random.default_rng(0))
