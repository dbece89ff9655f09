from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from headway.policies.shop.cp_first import first_schedule
from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.cp_windows import least_makespan, windows
from headway.policies.shop.making import job_shop
from headway.policies.shop.problem import Problem
from headway.policies.shop.schedule import faults, objective
from policies.shop.tiny_problems import problems


@settings(deadline=None, max_examples=150)
@given(problems())
def test_a_first_schedule_keeps_every_rule_and_is_there_unless_deadlines_forbid(problem: Problem) -> None:
    found = windows(problem)
    schedule = first_schedule(problem, found)
    may_fail = any(job.deadline is not None for job in problem.jobs)
    under_way = any(task.fixed_start is not None for task in problem.tasks)
    if schedule is None:
        assert may_fail or under_way
        return
    assert faults(problem, schedule) == []
    if problem.objective == "makespan":
        assert least_makespan(problem, found) <= objective(problem, schedule) <= found.horizon


def test_blocked_jobs_go_one_by_one_when_there_is_no_time() -> None:
    rng = np.random.default_rng(0)
    rows = [[(int(machine), int(rng.integers(1, 99))) for machine in rng.permutation(8)] for _ in range(20)]
    problem = job_shop("blocking", rows, blocking=True, swap=False)
    found = CpSat(workers=1).solve(problem, budget_s=0.0, rng=rng)
    assert found.schedule is not None
    assert faults(problem, found.schedule) == []
    assert found.objective == sum(duration for row in rows for _, duration in row)


def test_a_thousand_jobs_are_planned_and_bounded_at_once() -> None:
    rng = np.random.default_rng(0)
    rows = [[(int(machine), int(rng.integers(1, 99))) for machine in rng.permutation(10)] for _ in range(1000)]
    found = CpSat(workers=1).solve(job_shop("large", rows), budget_s=0.0, rng=rng)
    assert found.schedule is not None
    assert found.gap_frac is not None
    assert found.gap_frac < 0.05
    assert found.history[0].objective == found.objective
