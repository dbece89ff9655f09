"""The exact planner and PyJobShop's own model must agree on what is best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.making import flexible_job_shop, flow_shop, job_shop, project, single_machine
from headway.policies.shop.problem import Downtime, Problem
from headway.policies.shop.schedule import faults

pyjobshop = pytest.importorskip("pyjobshop")


def draw(kind: str, seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    durations = rng.integers(1, 10, (5, 3)).tolist()
    if kind == "flow shop":
        return flow_shop(kind, durations, permutation=bool(rng.integers(2)))
    if kind == "flexible job shop":
        machines = [[rng.permutation(3)[: rng.integers(1, 4)].tolist() for _ in range(3)] for _ in range(4)]
        rows = [[[(machine, int(rng.integers(1, 10))) for machine in task] for task in job] for job in machines]
        return flexible_job_shop(kind, rows, capacity=(1, 1, 1))
    if kind == "project":
        after = [[b for b in range(a + 1, 9) if rng.random() < 0.25] for a in range(9)]
        needs = rng.integers(0, 4, (9, 2)).tolist()
        return project(kind, rng.integers(1, 8, 9).tolist(), needs, after, (4, 3))
    if kind == "single machine":
        weights = rng.integers(1, 6, 7).tolist() if rng.integers(2) else None
        return single_machine(kind, rng.integers(1, 9, 7).tolist(), rng.integers(3, 30, 7).tolist(), weights)
    routes = [rng.permutation(3).tolist() for _ in durations]
    return job_shop(kind, [list(zip(*both, strict=True)) for both in zip(routes, durations, strict=True)])


def with_limits(problem: Problem, seed: int) -> Problem:
    """Add releases, downtimes and, for job shops, an objective of due times."""
    rng = np.random.default_rng(seed + 1)
    tasks = tuple(replace(task, release=0 if task.after else int(rng.integers(0, 6))) for task in problem.tasks)
    downtimes = tuple(Downtime(0, start, start + 3) for start in (4, 15)) if rng.integers(2) else ()
    jobs, kind = problem.jobs, problem.objective
    if problem.kind.endswith("job shop"):
        jobs = tuple(replace(job, due=int(rng.integers(5, 20)), weight=int(rng.integers(1, 4))) for job in jobs)
        kind = ("makespan", "total_tardiness", "weighted_tardiness", "total_flow_time")[rng.integers(4)]
    return replace(problem, tasks=tasks, downtimes=downtimes, jobs=jobs, objective=kind)


def theirs(problem: Problem) -> float:
    """Return the optimum by PyJobShop."""
    model = pyjobshop.Model()
    resources = [_resource(model, problem, number) for number in range(problem.num_resources)]
    weighs = problem.objective == "weighted_tardiness"
    jobs = [model.add_job(weight=int(job.weight) if weighs else 1, due_date=job.due) for job in problem.jobs]
    tasks = [model.add_task(job=jobs[task.job], earliest_start=task.release) for task in problem.tasks]
    for task, made in zip(problem.tasks, tasks, strict=True):
        for mode in task.modes:
            shared = [problem.capacity[resource] > 1 for resource, _ in mode.needs]
            needs = [
                (resources[resource], amount if is_shared else 0)  # its machines take one task, whatever it needs
                for (resource, amount), is_shared in zip(mode.needs, shared, strict=True)
            ]
            model.add_mode(made, [one for one, _ in needs], mode.duration, [a for _, a in needs])
        for before in task.after:
            model.add_end_before_start(tasks[before], made)
    if problem.permutation:
        columns = [[tasks[chain[place]] for chain in problem.chains or ()] for place in range(problem.num_resources)]
        for place in range(1, problem.num_resources):
            model.add_same_sequence(resources[0], resources[place], columns[0], columns[place])
    names = {"makespan": "weight_makespan", "total_flow_time": "weight_total_flow_time"}
    model.set_objective(**{names.get(problem.objective, "weight_total_tardiness"): 1})
    found = model.solve(solver="ortools", time_limit=20, num_workers=1, display=False)
    assert found.status.value == "Optimal"
    return float(found.objective)


def _resource(model: Any, problem: Problem, number: int) -> Any:
    breaks = [(down.start, down.end) for down in problem.downtimes if down.resource == number]
    if problem.capacity[number] == 1:
        return model.add_machine(breaks=breaks)
    return model.add_renewable(problem.capacity[number], breaks=breaks)


@pytest.mark.parametrize("kind", ["job shop", "flow shop", "flexible job shop", "project", "single machine"])
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6), is_limited=st.booleans())
def test_both_find_the_same_optimum(kind: str, seed: int, is_limited: bool) -> None:
    problem = with_limits(draw(kind, seed), seed) if is_limited else draw(kind, seed)
    ours = CpSat(workers=1).solve(problem, budget_s=20, rng=np.random.default_rng(seed))
    assert ours.schedule is not None
    assert faults(problem, ours.schedule) == []
    assert (ours.status, ours.objective) == ("optimal", theirs(problem))
