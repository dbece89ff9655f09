"""NEH: places are found exactly, published results come out, and what disturbs is kept out or put first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headway.policies.shop.flow_kernel as kernel
from headway.core.errors import ConfigError
from headway.policies.shop.flow_model import flow_model, in_line
from headway.policies.shop.flow_run import Flow
from headway.policies.shop.making import flow_shop, job_shop
from headway.policies.shop.neh import Neh
from headway.policies.shop.problem import Downtime, Job, Mode, Problem, Task
from headway.policies.shop.schedule import faults, objective
from policies.shop.shops import flow_shops, taillard_flow_shop

TIMES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 9), min_size=width, max_size=width), min_size=1, max_size=6)
)


@given(times=TIMES, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_job_goes_to_its_best_place(times: list[list[int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    flow, width = Flow(times, rng, fast=False), len(times[0])
    *others, job = rng.permutation(len(times)).tolist()
    order = [*others, 0]
    made = kernel.insert(flow._time, width, order, len(others), job, flow._scratch)  # type: ignore[arg-type]
    row = [0] * width

    def length(one: list[int]) -> int:
        return kernel.length(flow._time, width, one, len(one), row)  # type: ignore[arg-type]

    assert made == length(order)
    assert made == min(length([*others[:at], job, *others[at:]]) for at in range(len(times)))


@given(problem=flow_shops())
@settings(max_examples=60, deadline=None)
def test_schedules_keep_every_rule(problem: Problem) -> None:
    result = Neh().solve(problem, budget_s=1.0, rng=np.random.default_rng(0))
    assert result.schedule is not None
    assert faults(problem, result.schedule) == []
    assert result.bound is not None
    assert result.bound <= objective(problem, result.schedule) == result.objective


def test_the_published_makespan_of_taillards_first_flow_shop() -> None:
    result = Neh().solve(taillard_flow_shop(20, 5, 873654221), budget_s=5.0, rng=np.random.default_rng(0))
    assert (result.objective, result.bound) == (1286, 1232)


def test_what_is_under_way_comes_first() -> None:
    tasks = (
        Task((Mode(3, ((1, 1),)),), job=0, fixed_start=0),
        Task((Mode(4, ((0, 1),)),), job=1, fixed_start=0),
        Task((Mode(2, ((1, 1),)),), job=1, after=(1,)),
        Task((Mode(1, ((0, 1),)),), job=2, release=1),
        Task((Mode(5, ((1, 1),)),), job=2, after=(3,)),
    )
    problem = Problem(
        name="left", tasks=tasks, jobs=(Job(),) * 3, capacity=(1, 1), downtimes=(Downtime(1, 7, 9),), permutation=True
    )
    model = flow_model(problem, "test")
    assert model.first == (0, 1)
    assert (model.times, model.bound) == (((1, 5),), None)
    result = Neh().solve(problem, budget_s=1.0, rng=np.random.default_rng(0))
    assert result.schedule is not None
    assert faults(problem, result.schedule) == []
    assert result.schedule == in_line(problem, [0, 1, 2])


@pytest.mark.parametrize(
    ("problem", "what"),
    [
        (job_shop("j", [[(0, 1), (1, 1)], [(1, 1), (0, 1)]]), "a job shop"),
        (flow_shop("t", [[1, 2]], objective="total_tardiness"), "total_tardiness"),
        (flow_shop("b", [[1, 2]], blocking=True), "blocking"),
    ],
)
def test_other_problems_are_refused(problem: Problem, what: str) -> None:
    with pytest.raises(ConfigError, match=f"shop/neh: problem must be a flow shop .*{what}"):
        Neh().solve(problem, budget_s=1.0, rng=np.random.default_rng(0))
