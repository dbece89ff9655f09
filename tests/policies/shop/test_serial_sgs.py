"""Serial schedule generation: feasible for everything, justified, and as good as is known on small projects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.policies.shop.making import flow_shop, job_shop, project
from headway.policies.shop.problem import Downtime, Job, Mode, Problem, Task
from headway.policies.shop.project_rules import RULES, Network
from headway.policies.shop.schedule import faults, objective
from headway.policies.shop.serial_sgs import SerialSgs
from headway.policies.shop.sgs_arrays import Arrays
from policies.shop.shops import flexible_shops, job_shops, projects

EVERYTHING = st.one_of(projects(), job_shops(), flexible_shops())


@given(problem=EVERYTHING, rule=st.sampled_from(sorted(RULES)))
@settings(max_examples=100, deadline=None)
def test_schedules_keep_every_rule(problem: Problem, rule: str) -> None:
    solver = SerialSgs(rule=rule, num_random=3)  # type: ignore[arg-type]
    result = solver.solve(problem, budget_s=5.0, rng=np.random.default_rng(0))
    assert result.schedule is not None
    assert faults(problem, result.schedule) == []
    assert result.bound is None or result.objective is None or result.bound <= result.objective


@given(problem=projects(disturbed=False), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_justification_never_makes_a_plain_project_longer(problem: Problem, seed: int) -> None:
    if any(len(task.modes) > 1 for task in problem.tasks):
        return
    arrays = Arrays(problem, fast=False)
    schedule = arrays.by_key(np.random.default_rng(seed).random(problem.num_tasks))
    justified = arrays.justified(schedule)
    assert faults(problem, justified) == []
    assert objective(problem, justified) <= objective(problem, schedule)


@given(problem=EVERYTHING, seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_it_is_never_worse_than_its_start(problem: Problem, seed: int) -> None:
    start = Arrays(problem, fast=False).by_key(np.random.default_rng(seed).random(problem.num_tasks))
    result = SerialSgs(num_random=0).solve(problem, budget_s=0.0, rng=np.random.default_rng(0), start=start)
    assert result.objective is not None
    assert result.objective <= objective(problem, start)


def test_compiled_and_plain_generate_the_same() -> None:
    pytest.importorskip("numba")
    problem = project("p", [3, 2, 4, 1], [[1], [2], [1], [1]], [[2], [3], [], []], [2], downtimes=(Downtime(0, 4, 6),))
    keys = np.random.default_rng(0).random((5, 4))
    plain, fast = Arrays(problem, fast=False), Arrays(problem, fast=True)
    assert [plain.justified(plain.by_key(key)) for key in keys] == [fast.justified(fast.by_key(key)) for key in keys]


def test_rules_of_projects() -> None:
    """0 before 1 and 2, 1 before 3; by hand."""
    problem = project("four", [2, 3, 1, 2], [[1]] * 4, [[1, 2], [3], [], []], [1])
    net = Network(problem)
    assert RULES["lft"](net) == [2, 5, 7, 7]
    assert RULES["lst"](net) == [0, 2, 6, 5]
    assert RULES["mts"](net) == [-3, -1, 0, 0]
    assert RULES["grpw"](net) == [-6, -5, -1, -2]
    assert RULES["est"](net) == [0, 2, 2, 5]


def test_modes_downtimes_and_what_is_under_way() -> None:
    tasks = (
        Task((Mode(4, ((0, 2),)),), fixed_start=0),
        Task((Mode(2, ((0, 3),)), Mode(5, ((0, 1),))), after=()),
        Task((Mode(2, ((0, 3),)),), after=(1,)),
    )
    problem = Problem(name="mixed", tasks=tasks, jobs=(Job(),), capacity=(3,), downtimes=(Downtime(0, 6, 8),))
    result = SerialSgs().solve(problem, budget_s=1.0, rng=np.random.default_rng(0))
    assert result.schedule is not None
    assert faults(problem, result.schedule) == []
    assert result.objective == 10


@pytest.mark.parametrize(
    "problem", [job_shop("b", [[(0, 1), (1, 1)]], blocking=True), flow_shop("p", [[1, 2]], permutation=True)]
)
def test_other_problems_are_refused(problem: Problem) -> None:
    with pytest.raises(ConfigError, match="shop/serial-sgs: tasks must be free to start"):
        SerialSgs().solve(problem, budget_s=1.0, rng=np.random.default_rng(0))


@pytest.mark.parametrize(("name", "value"), [("rule", "lift"), ("num_random", -1), ("spread", -0.1)])
def test_parameters_out_of_range_are_named(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"shop/serial-sgs: {name} must be"):
        SerialSgs(**{name: value})  # type: ignore[arg-type]
