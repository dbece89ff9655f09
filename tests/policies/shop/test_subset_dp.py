"""The dynamic program over subsets, against all orders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.policies.shop.making import job_shop, single_machine
from headway.policies.shop.problem import Downtime
from headway.policies.shop.schedule import faults
from headway.policies.shop.subset_dp import SubsetDp

jobs = st.lists(st.tuples(st.integers(0, 9), st.integers(-5, 25), st.integers(0, 4)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(jobs)
def test_no_order_costs_less(pairs: list[tuple[int, int, int]]) -> None:
    p, d, w = (list(column) for column in zip(*pairs, strict=True))
    problem = single_machine("x", p, d, [float(one) for one in w])
    result = SubsetDp().solve(problem, budget_s=1, rng=np.random.default_rng(0))
    best = min(
        sum(w[j] * max(sum(p[i] for i in order[: k + 1]) - d[j], 0) for k, j in enumerate(order))
        for order in itertools.permutations(range(len(p)))
    )
    assert result.status == "optimal"
    assert result.objective == result.bound == best
    assert result.schedule is not None
    assert faults(problem, result.schedule) == []


def test_twenty_jobs_take_well_below_a_second() -> None:
    rng = np.random.default_rng(0)
    problem = single_machine("x", rng.integers(1, 101, 20).tolist(), rng.integers(200, 700, 20).tolist())
    SubsetDp().solve(single_machine("first", [1], [0]), budget_s=1, rng=rng)  # compiles
    assert SubsetDp().solve(problem, budget_s=1, rng=rng).took_s < 1.0


def test_what_it_cannot_treat_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="at most 22 jobs, got 23"):
        SubsetDp().solve(single_machine("x", [1] * 23, [0] * 23), budget_s=1, rng=rng)
    with pytest.raises(ConfigError, match="must be a single machine, got a job shop"):
        SubsetDp().solve(job_shop("two", [[(0, 3), (1, 2)], [(1, 4), (0, 1)]]), budget_s=1, rng=rng)
    with pytest.raises(ConfigError, match="all in the order of its jobs, got downtimes"):
        SubsetDp().solve(single_machine("x", [1], [0], downtimes=(Downtime(0, 0, 1),)), budget_s=1, rng=rng)
    with pytest.raises(ConfigError, match="objective must be tardiness, got makespan"):
        SubsetDp().solve(single_machine("x", [1], [0], objective="makespan"), budget_s=1, rng=rng)
    with pytest.raises(ConfigError, match="max_jobs must be in"):
        SubsetDp(max_jobs=0)
