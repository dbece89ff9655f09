"""Iterated greedy: feasible, never worse than its start, and optimal on Taillard's first flow shop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.flow_model import flow_model, in_line
from headway.policies.shop.flow_run import Flow
from headway.policies.shop.iterated_greedy import IteratedGreedy
from headway.policies.shop.problem import Problem
from headway.policies.shop.schedule import faults, objective
from policies.shop.shops import flow_shops, taillard_flow_shop


@given(problem=flow_shops(), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_schedules_keep_every_rule_and_are_no_worse_than_the_start(problem: Problem, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = in_line(problem, rng.permutation(len(problem.jobs)).tolist())
    result = IteratedGreedy(max_rounds=5).solve(problem, budget_s=5.0, rng=rng, start=start)
    assert result.schedule is not None
    assert result.objective is not None
    assert faults(problem, result.schedule) == []
    assert result.objective <= objective(problem, start)


def test_it_improves_on_neh() -> None:
    problem = taillard_flow_shop(20, 5, 873654221)
    solver = IteratedGreedy(max_rounds=60)
    found = [solver.solve(problem, budget_s=60.0, rng=np.random.default_rng(1)) for _ in range(2)]
    assert found[0].schedule == found[1].schedule
    assert found[0].objective is not None
    assert 1278 <= found[0].objective < 1286


@pytest.mark.slow
def test_it_finds_the_optimum_of_taillards_first_flow_shop() -> None:
    problem = taillard_flow_shop(20, 5, 873654221)
    result = IteratedGreedy(max_rounds=3000).solve(problem, budget_s=120.0, rng=np.random.default_rng(0))
    assert result.objective == 1278


def test_compiled_and_plain_take_the_same_steps() -> None:
    pytest.importorskip("numba")
    model = flow_model(taillard_flow_shop(8, 3, 5), "test")
    found = []
    for fast in (False, True):
        heard: list[list[int]] = []
        flow = Flow(model.times, np.random.default_rng(2), fast=fast)
        flow.greedy([7, 6, 5, 4, 3, 2, 1, 0], 2, 0.4, 0, 20, Stopwatch(300.0), heard.append)
        found.append(heard[-1])
    assert found[0] == found[1]


@pytest.mark.parametrize(("name", "value"), [("num_out", 0), ("heat", -1.0), ("max_rounds", -1)])
def test_parameters_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"shop/iterated-greedy: {name} must be"):
        IteratedGreedy(**{name: value})  # type: ignore[arg-type]
