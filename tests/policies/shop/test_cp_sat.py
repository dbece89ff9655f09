from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from headway.core.errors import ConfigError, MissingExtra
from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.making import flow_shop, job_shop, project, single_machine
from headway.policies.shop.problem import Downtime, Job, Problem
from headway.policies.shop.result import Progress, Result
from headway.policies.shop.schedule import Schedule, faults, objective
from policies.shop.tiny_problems import least_cost, problems

SHARED = Path(__file__).parents[4] / "shared" / "data" / "sched"
FT06 = (
    "2 1 0 3 1 6 3 7 5 3 4 6|1 8 2 5 4 10 5 10 0 10 3 4|2 5 3 4 5 8 0 9 1 1 4 7|"
    "1 5 0 5 2 5 3 3 4 8 5 9|2 9 1 3 4 5 5 4 0 3 3 1|1 3 3 3 5 9 0 10 4 4 2 1"
)


def ft06() -> Problem:
    rows = [[int(one) for one in row.split()] for row in FT06.split("|")]
    return job_shop("ft06", [list(zip(row[::2], row[1::2], strict=True)) for row in rows])


def solved(problem: Problem, budget_s: float = 20.0, start: Schedule | None = None, workers: int = 1) -> Result:
    return CpSat(workers=workers).solve(problem, budget_s=budget_s, rng=np.random.default_rng(0), start=start)


def check_against_all_schedules(problem: Problem) -> None:
    found, best = solved(problem), least_cost(problem)
    if best is None:
        assert found.status == "infeasible"
        assert found.schedule is None
        return
    assert found.status == "optimal"
    assert found.schedule is not None
    assert faults(problem, found.schedule) == []
    assert objective(problem, found.schedule) == found.objective == found.bound == pytest.approx(best)


@settings(deadline=None, max_examples=60)
@given(problems())
def test_the_best_of_all_schedules_is_found_and_proven(problem: Problem) -> None:
    check_against_all_schedules(problem)


@settings(deadline=None, max_examples=40)
@given(problems(blocking=True))
def test_blocking_with_swaps_is_the_best_of_all_schedules(problem: Problem) -> None:
    check_against_all_schedules(problem)


@settings(deadline=None, max_examples=40)
@given(problems(blocking=True, swap=False))
def test_blocking_without_swaps_is_the_best_of_all_schedules(problem: Problem) -> None:
    check_against_all_schedules(problem)


@pytest.mark.parametrize(("swap", "best"), [(True, 6), (False, 12)])
def test_two_blocked_jobs_swap_at_once_or_go_one_after_the_other(swap: bool, best: int) -> None:
    rows = [[(0, 3), (1, 3)], [(1, 3), (0, 3)]]
    assert solved(job_shop("circle", rows, blocking=True, swap=swap)).objective == best


def test_ft06_takes_55() -> None:
    found = solved(ft06())
    assert (found.status, found.objective, found.bound, found.gap_frac) == ("optimal", 55, 55, 0)
    assert found.history[-1].objective == 55


def test_a_good_start_is_gone_on_from_and_never_lost() -> None:
    best = solved(ft06())
    assert best.schedule is not None
    again = solved(ft06(), start=best.schedule)
    assert (again.status, again.objective) == ("optimal", 55)
    in_a_row = solved(ft06(), budget_s=1e-6, start=one_after_the_other(ft06()))
    assert in_a_row.objective is not None
    assert in_a_row.objective <= 197


def one_after_the_other(problem: Problem) -> Schedule:
    starts, now = [], 0
    for task in problem.tasks:
        starts.append(now)
        now += task.modes[0].duration
    return Schedule(tuple(starts), (0,) * problem.num_tasks)


def test_a_start_that_breaks_rules_does_no_harm() -> None:
    assert solved(ft06(), start=Schedule((0,) * 36, (0,) * 36)).objective == 55


def test_no_budget_brings_the_first_schedule() -> None:
    found = solved(ft06(), budget_s=0.0)
    assert found.schedule is not None
    assert faults(ft06(), found.schedule) == []


def test_equal_generators_give_equal_schedules_and_other_workers_the_same_cost() -> None:
    assert solved(ft06()).schedule == solved(ft06()).schedule
    assert solved(ft06(), workers=2).objective == 55


def test_progress_is_told() -> None:
    news: list[Progress] = []
    CpSat(workers=1).solve(ft06(), budget_s=20, rng=np.random.default_rng(0), tell=news.append)
    costs = [one.objective for one in news if one.objective is not None]
    assert costs[-1] == 55
    assert costs == sorted(costs, reverse=True)
    assert [one.at_s for one in news] == sorted(one.at_s for one in news)


def test_the_first_schedule_is_told_whole_so_that_nobody_loses_it() -> None:
    told: list[Progress] = []
    shop = job_shop("many", [[(0, 3), (1, 2)], [(1, 4), (0, 1)]] * 20)
    CpSat(workers=1).solve(shop, budget_s=2.0, rng=np.random.default_rng(0), tell=told.append)
    assert told[0].schedule is not None
    assert faults(shop, told[0].schedule) == []


def test_a_wide_gap_is_no_proof() -> None:
    found = CpSat(workers=1, gap_frac=1.0).solve(ft06(), budget_s=20, rng=np.random.default_rng(0))
    assert found.bound is not None
    assert found.objective is not None
    assert (found.status == "optimal") == (found.bound >= found.objective)


def test_a_deadline_before_the_work_can_be_done_is_told_by_job() -> None:
    late = job_shop("late", [[(0, 3), (1, 4)], [(0, 2)]], jobs=(Job(deadline=6, name="chair"), Job(deadline=2)))
    found = solved(late)
    assert found.status == "infeasible"
    assert found.why == "chair cannot end before 7, and must by 6"


def test_deadlines_that_contradict_each_other_are_named_and_no_others() -> None:
    jobs = (Job(deadline=5), Job(deadline=50), Job(deadline=6), Job())
    found = solved(job_shop("tight", [[(0, 4)], [(0, 4)], [(0, 4)], [(0, 1)]], jobs=jobs))
    assert found.status == "infeasible"
    assert found.why.endswith(": J0 by 5, J2 by 6")


def test_tasks_under_way_that_cannot_be_are_told() -> None:
    two = job_shop("two", [[(0, 4)], [(0, 4)]])
    under_way = replace(two, tasks=tuple(replace(task, fixed_start=0) for task in two.tasks))
    assert "under way" in solved(under_way).why


def test_a_long_downtime_is_waited_for_or_worked_around() -> None:
    one = job_shop("one", [[(0, 3)], [(0, 2)]], downtimes=(Downtime(0, 2, 10),))
    assert solved(one).objective == 13
    assert solved(job_shop("one", [[(0, 3)]], downtimes=(Downtime(0, 3, 10),))).objective == 3


def test_weights_that_are_no_whole_numbers_count_exactly() -> None:
    found = solved(single_machine("w", [3, 3], [0, 0], [0.1, 0.7]))
    assert found.objective == pytest.approx(0.7 * 3 + 0.1 * 6)
    assert found.bound == found.objective


def test_nothing_that_counts_is_optimal_at_once() -> None:
    found = solved(job_shop("no due", [[(0, 3)]], objective="total_tardiness"))
    assert (found.status, found.objective) == ("optimal", 0)


@pytest.mark.parametrize("wrong", [{"workers": -1}, {"gap_frac": 2.0}, {"explain_frac": -0.1}])
def test_wrong_parameters_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CpSat(**wrong)  # type: ignore[arg-type]


def test_without_the_library_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python.cp_model", None)
    with pytest.raises(MissingExtra, match="ortools: needed to solve exactly"):
        solved(ft06())


def published(name: str) -> tuple[Problem, int]:
    file = SHARED / "jssp.jsonl.gz"
    if not file.is_file():
        pytest.skip("the public instances are not here")
    for line in gzip.decompress(file.read_bytes()).splitlines():
        row = json.loads(line)
        if row["name"] == name:
            return job_shop(name, row["data"]), row["ub"]
    pytest.skip(f"{name} is not among the public instances here")


@pytest.mark.parametrize("name", ["la01", "la03", "la05"])
def test_easy_public_job_shops_are_proven(name: str) -> None:
    problem, best = published(name)
    assert (solved(problem).status, solved(problem).objective) == ("optimal", best)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ft10", "ft20", *(f"la{number:02}" for number in range(1, 21))])
def test_public_job_shops_are_proven(name: str) -> None:
    problem, best = published(name)
    found = solved(problem, budget_s=120, workers=2)
    assert (found.status, found.objective) == ("optimal", best)


def test_a_permutation_flow_shop_may_cost_more_than_a_free_one() -> None:
    rows = [[5, 1, 1, 5], [1, 5, 5, 1]]
    free, bound_to = (solved(flow_shop("flow", rows, permutation=same)).objective for same in (False, True))
    assert free is not None
    assert bound_to is not None
    assert free < bound_to


def test_a_project_shares_what_there_is() -> None:
    found = solved(project("p", [2, 2, 2], [[2], [1], [1]], [[], [], []], [2]))
    assert (found.status, found.objective) == ("optimal", 4)


def test_a_warm_start_may_fix_several_tasks_at_the_same_moment() -> None:
    problem = job_shop("begun", [[(0, 3), (1, 4)], [(1, 2), (2, 3)], [(2, 5), (0, 1)]])
    tasks = tuple(replace(task, fixed_start=None if task.after else 0) for task in problem.tasks)
    begun = replace(problem, tasks=tasks)
    first = Schedule((0, 9, 0, 9, 0, 9), (0,) * 6)
    assert solved(begun, start=first).objective == 8.0
