"""The default planner: a schedule for every kind of problem, proven where it can be, with and without OR-Tools."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import ConfigError, MissingExtra
from headway.policies.shop import headway as module
from headway.policies.shop.headway import Headway
from headway.policies.shop.insertion import insert_jobs
from headway.policies.shop.making import flow_shop, job_shop, single_machine
from headway.policies.shop.problem import Downtime, Job, Mode, Objective, Problem, Task
from headway.policies.shop.result import Progress
from headway.policies.shop.schedule import faults, leaves, objective
from policies.shop.shops import FT06, any_problem, blocking_shops, due, flow_shops, job_shops, projects


@given(problem=any_problem())
@settings(max_examples=60, deadline=None)
def test_without_the_exact_planner_schedules_keep_every_rule(problem: Problem) -> None:
    result = Headway(exact="never").solve(problem, budget_s=0.2, rng=np.random.default_rng(0))
    assert result.schedule is not None
    assert faults(problem, result.schedule) == []
    assert result.bound is None or result.objective is None or result.bound <= result.objective


@given(problem=any_problem())
@settings(max_examples=20, deadline=None)
def test_with_it_small_problems_are_proven(problem: Problem) -> None:
    pytest.importorskip("ortools")
    told: list[Progress] = []
    result = Headway().solve(problem, budget_s=20.0, rng=np.random.default_rng(0), tell=told.append)
    assert result.status == "optimal"
    assert result.schedule is not None
    assert faults(problem, result.schedule) == []
    assert result.objective == result.bound == objective(problem, result.schedule)
    costs = [news.objective for news in told if news.objective is not None]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == result.objective


@given(
    problem=st.one_of(job_shops(disturbed=False, least=1), flow_shops(), projects(disturbed=False)),
    goal=st.sampled_from(["total_tardiness", "weighted_tardiness", "total_flow_time"]),
)
@settings(max_examples=30, deadline=None)
def test_any_objective_will_do(problem: Problem, goal: Objective) -> None:
    wanted = due(problem, 1.2, goal)
    result = Headway(exact="never").solve(wanted, budget_s=0.1, rng=np.random.default_rng(0))
    assert result.schedule is not None
    assert faults(wanted, result.schedule) == []
    again = Headway(exact="never").solve(wanted, budget_s=0.0, rng=np.random.default_rng(0), start=result.schedule)
    assert again.objective is not None
    assert result.objective is not None
    assert again.objective <= result.objective


@given(problem=blocking_shops(), seed=st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_jobs_that_block_are_inserted_one_by_one(problem: Problem, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(problem.jobs)).tolist()
    schedule = insert_jobs(problem, order)
    assert schedule is not None
    assert faults(problem, schedule) == []


def test_blocked_jobs_swap_where_they_may() -> None:
    rows = [[(0, 2), (1, 2)], [(1, 2), (0, 2)]]
    swapping = insert_jobs(job_shop("s", rows, blocking=True), [0, 1])
    waiting = insert_jobs(job_shop("w", rows, blocking=True, swap=False), [0, 1])
    assert swapping is not None
    assert waiting is not None
    assert objective(job_shop("s", rows), swapping) == 4
    assert objective(job_shop("w", rows), waiting) > 4


def test_what_blocks_and_is_under_way_stays_until_it_can_move() -> None:
    tasks = (
        Task((Mode(2, ((0, 1),)),), job=0, fixed_start=0),
        Task((Mode(3, ((1, 1),)),), job=0, after=(0,)),
        Task((Mode(5, ((1, 1),)),), job=1, fixed_start=0),
    )
    problem = Problem(
        name="b", tasks=tasks, jobs=(Job(), Job()), capacity=(1, 1), blocking=True, downtimes=(Downtime(1, 20, 22),)
    )
    schedule = insert_jobs(problem, [0, 1])
    assert schedule is not None
    assert faults(problem, schedule) == []
    assert leaves(problem, schedule)[0] == 5


def test_ft06_needs_no_compiler_and_is_proven() -> None:
    pytest.importorskip("ortools")
    result = Headway(workers=1).solve(job_shop("ft06", FT06), budget_s=30.0, rng=np.random.default_rng(0))
    assert (result.status, result.objective) == ("optimal", 55)


def test_no_budget_gives_the_first_schedule() -> None:
    problem = job_shop("ft06", FT06)
    result = Headway().solve(problem, budget_s=0.0, rng=np.random.default_rng(0))
    assert result.status == "feasible"
    assert result.took_s < 1.0


def test_a_plan_that_meets_a_bound_is_proven_without_a_search() -> None:
    shop = job_shop("row", [[(0, 5), (1, 1)]] * 30)
    result = Headway(exact="never").solve(shop, budget_s=60.0, rng=np.random.default_rng(0))
    assert (result.status, result.objective, result.bound) == ("optimal", 151, 151)


def test_what_cannot_be_is_said() -> None:
    pytest.importorskip("ortools")
    problem = job_shop("late", [[(0, 5)], [(0, 5)]], jobs=(Job(deadline=7, name="a"), Job(deadline=7, name="b")))
    result = Headway().solve(problem, budget_s=10.0, rng=np.random.default_rng(0))
    assert result.status == "infeasible"
    assert result.schedule is None
    assert result.why


def test_rules_meet_deadlines_where_the_first_does_not() -> None:
    jobs = (Job(), Job(), Job(deadline=2))
    problem = job_shop("tight", [[(0, 9)], [(0, 8)], [(0, 2)]], jobs=jobs)
    result = Headway(exact="never").solve(problem, budget_s=1.0, rng=np.random.default_rng(0))
    assert result.status == "optimal"


def test_without_ortools_it_plans_on_and_says_what_is_missing_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "ortools" else find(name))
    problem = job_shop("ft06", FT06)
    result = Headway().solve(problem, budget_s=0.3, rng=np.random.default_rng(0))
    assert result.status == "feasible"
    with pytest.raises(MissingExtra, match=r"pip install 'headway\[shop\]'"):
        Headway(exact="always").solve(problem, budget_s=0.3, rng=np.random.default_rng(0))


def test_orders_of_jobs_are_searched() -> None:
    rng = np.random.default_rng(0)
    times = rng.integers(1, 30, size=(8, 3)).tolist()
    dues = tuple(Job(due=int(one)) for one in rng.integers(20, 120, 8))
    problem = flow_shop("f", times, permutation=True, jobs=dues, objective="total_tardiness")
    at_once = Headway(exact="never").solve(problem, budget_s=0.0, rng=rng)
    later = Headway(exact="never").solve(problem, budget_s=1.0, rng=rng)
    assert later.objective is not None
    assert at_once.objective is not None
    assert later.objective < at_once.objective


def test_single_machines_too() -> None:
    problem = single_machine("one", [3, 2, 4], [9, 2, 5])
    result = Headway(exact="never").solve(problem, budget_s=0.2, rng=np.random.default_rng(0))
    assert result.objective == 1


@pytest.mark.parametrize(("name", "value"), [("improve_frac", 1.5), ("exact", "maybe"), ("workers", -1)])
def test_parameters_out_of_range_are_named(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"shop/headway: {name} must be"):
        Headway(**{name: value})  # type: ignore[arg-type]
