"""Schedule generation: feasible whatever the rule, active or non-delay as promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.policies.shop.generate import generate
from headway.policies.shop.giffler_thompson import GifflerThompson
from headway.policies.shop.making import flow_shop, job_shop, project
from headway.policies.shop.problem import Job, Mode, Problem, Task
from headway.policies.shop.rules import NAMES, rule
from headway.policies.shop.schedule import Schedule, ends, faults, objective
from policies.shop.shops import FT06, flexible_shops, job_shops


@given(problem=st.one_of(job_shops(), flexible_shops()), name=st.sampled_from(NAMES), non_delay=st.booleans())
@settings(max_examples=150, deadline=None)
def test_schedules_keep_every_rule(problem: Problem, name: str, non_delay: bool) -> None:
    assert faults(problem, generate(problem, rule(name), non_delay=non_delay)) == []


@given(problem=job_shops(disturbed=False, least=1), name=st.sampled_from(NAMES))
@settings(max_examples=60, deadline=None)
def test_no_task_of_an_active_schedule_could_end_sooner(problem: Problem, name: str) -> None:
    schedule = generate(problem, rule(name), non_delay=False)
    for task in range(problem.num_tasks):
        for sooner in range(schedule.starts[task]):
            starts = list(schedule.starts)
            starts[task] = sooner
            assert faults(problem, Schedule(tuple(starts), schedule.modes)), f"{task} could start at {sooner}"


@given(problem=job_shops(disturbed=False, least=1), name=st.sampled_from(NAMES))
@settings(max_examples=60, deadline=None)
def test_no_machine_of_a_non_delay_schedule_waits_while_it_has_a_task(problem: Problem, name: str) -> None:
    schedule = generate(problem, rule(name), non_delay=True)
    end = ends(problem, schedule)
    for task, one in enumerate(problem.tasks):
        machine = one.modes[0].needs[0][0]
        ready = max((end[before] for before in one.after), default=0)
        others = [n for n, other in enumerate(problem.tasks) if other.modes[0].needs[0][0] == machine]
        busy = sum(end[n] - max(schedule.starts[n], ready) for n in others
                   if end[n] > ready and schedule.starts[n] < schedule.starts[task])  # fmt: skip
        assert busy == schedule.starts[task] - ready


def test_the_seat_goes_on_from_a_start_and_draws_more() -> None:
    problem = job_shop("ft06", FT06)
    plain = GifflerThompson().solve(problem, budget_s=5.0, rng=np.random.default_rng(0))
    more = GifflerThompson(num_random=30, non_delay=False).solve(
        problem, budget_s=5.0, rng=np.random.default_rng(0), start=plain.schedule
    )
    assert plain.objective is not None
    assert more.objective is not None
    assert 55 <= more.objective <= plain.objective
    at_once = GifflerThompson(num_random=30).solve(problem, budget_s=0.0, rng=np.random.default_rng(0))
    assert at_once.objective == plain.objective


def test_the_soonest_end_chooses_between_machines() -> None:
    tasks = (Task((Mode(5, ((0, 1),)), Mode(2, ((1, 1),)))), Task((Mode(5, ((0, 1),)), Mode(4, ((1, 1),)))))
    problem = Problem(name="two", tasks=tasks, jobs=(Job(),), capacity=(1, 1))
    schedule = generate(problem, rule("spt"), non_delay=False)
    assert schedule.modes == (1, 0)
    assert objective(problem, schedule) == 5


def test_a_deadline_that_is_missed_is_no_schedule() -> None:
    problem = job_shop("late", [[(0, 5)], [(0, 5)]], jobs=(Job(deadline=7), Job(deadline=7)))
    result = GifflerThompson().solve(problem, budget_s=1.0, rng=np.random.default_rng(0))
    assert result.status == "unknown"
    assert "after its deadline" in result.why


@pytest.mark.parametrize(
    "problem",
    [
        job_shop("b", [[(0, 1), (1, 1)]], blocking=True),
        flow_shop("p", [[1, 2]], permutation=True),
        project("r", [1, 2], [[1], [2]], [[1], []], [2]),
    ],
)
def test_other_problems_are_refused(problem: Problem) -> None:
    with pytest.raises(ConfigError, match="shop/giffler-thompson: each task must take one machine"):
        GifflerThompson().solve(problem, budget_s=1.0, rng=np.random.default_rng(0))


def test_parameters_are_named() -> None:
    with pytest.raises(ConfigError, match=r"'sbt' is not known. Nearest: spt"):
        GifflerThompson(rule="sbt")
    with pytest.raises(ConfigError, match="num_random must be >= 0"):
        GifflerThompson(num_random=-1)
