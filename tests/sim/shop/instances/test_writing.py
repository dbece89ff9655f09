from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from headway.core.errors import ConfigError
from headway.policies.shop.problem import Downtime, Problem
from headway.sim.shop.instances.door import read_one
from headway.sim.shop.instances.generate import (
    random_flexible_shop,
    random_flow_shop,
    random_job_shop,
    random_project,
    random_tardiness,
)
from headway.sim.shop.instances.writing import Format, write
from policies.shop.tiny_problems import problems

FILES: dict[Format, str] = {
    "rows": "a.txt",
    "taillard": "b.txt",
    "flow": "c.txt",
    "fjs": "d.fjs",
    "rcp": "e.rcp",
    "sm": "f.sm",
    "wt": "wt7.txt",
    "json": "g.json",
}


def made(form: Format, seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    jobs, machines = (int(number) for number in rng.integers(2, 6, 2))
    if form in ("rcp", "sm"):
        return random_project(jobs * 3, machines, rng, factor=0.7)
    if form == "wt":
        return random_tardiness(7, 0.6, 0.4, rng)
    if form == "flow":
        return random_flow_shop(jobs, machines, rng)
    if form == "fjs":
        return random_flexible_shop(jobs, machines, 3, machines / 2 + 0.5, rng)
    return random_job_shop(jobs, machines, rng)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
@pytest.mark.parametrize("form", FILES)
def test_what_is_written_is_read_again(tmp_path: Path, form: Format, seed: int) -> None:
    problem = made(form, seed)
    file = tmp_path / FILES[form]
    file.write_text(write(problem, form))
    again = read_one(file)
    assert (again.tasks, again.capacity, again.objective) == (problem.tasks, problem.capacity, problem.objective)
    assert (again.permutation, [job.due for job in again.jobs]) == (problem.permutation, [j.due for j in problem.jobs])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems(blocking=True, swap=False))
def test_json_has_every_rule(tmp_path: Path, problem: Problem) -> None:
    (tmp_path / "a.json").write_text(write(problem, "json"))
    assert read_one(tmp_path / "a.json") == problem


def test_what_a_format_cannot_say_is_refused() -> None:
    shop = made("rows", 0)
    with pytest.raises(ConfigError, match="'rows' must be given nothing but tasks, precedence and resources"):
        write(replace(shop, downtimes=(Downtime(0, 1, 2),)), "rows")
    with pytest.raises(ConfigError, match="'wt' must be given a single machine with due times, got a job shop"):
        write(shop, "wt")
    with pytest.raises(ConfigError, match="got a project"):
        write(made("sm", 0), "fjs")
    with pytest.raises(ConfigError, match="a permutation flow shop"):
        write(made("flow", 0), "rows")
