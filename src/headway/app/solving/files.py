"""Schedules as files: written for people and other programs, read back to go on from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from headway.core.errors import ConfigError
from headway.core.writing import replacing
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule, ends, mode_of


def plain(problem: Problem, result: Result) -> dict[str, Any]:
    """Return a result as plain data, tasks in the order of their starts."""
    told: dict[str, Any] = {
        "problem": problem.name,
        "kind": problem.kind,
        "num_jobs": len(problem.jobs),
        "num_resources": problem.num_resources,
        "num_tasks": problem.num_tasks,
        "goal": problem.objective,
        "solver": result.solver,
        "status": result.status,
        "objective": result.objective,
        "bound": result.bound,
        "gap_frac": result.gap_frac,
        "best_known": problem.best_known,
        "took_s": result.took_s,
        "why": result.why,
        "history": [{"at_s": p.at_s, "objective": p.objective, "bound": p.bound} for p in result.history],
        "tasks": [] if result.schedule is None else _tasks(problem, result.schedule),
    }
    return told


def write_result(path: Path, problem: Problem, result: Result) -> None:
    """Write a result as JSON: whole, or not at all."""
    with replacing(path) as beside:
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(plain(problem, result)), indent=1))


def read_schedule(path: Path, problem: Problem) -> Schedule:
    """Read the schedule of a problem from a file that `write_result` has written.

    Raises
    ------
    ConfigError
        When it is no such file, or is about other tasks.
    """
    try:
        told = msgspec.json.decode(path.read_bytes())
        found = {task["task"]: (int(task["start"]), int(task["mode"])) for task in told["tasks"]}
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: must be a result of `headway solve --out`, got: {error}. Write it again."
        ) from error
    names = [problem.task_name(task) for task in range(problem.num_tasks)]
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise ConfigError(
            f"{path}: tasks of {problem.name} must have names of their own, {doubled[0]} is several tasks."
        )
    missing = [name for name in names if name not in found]
    if missing:
        raise ConfigError(
            f"{path}: must place every task of {problem.name}, {missing[0]} is missing. Is it of another problem?"
        )
    if len(found) > len(names):
        other = next(name for name in found if name not in names)
        raise ConfigError(f"{path}: must place only tasks of {problem.name}, got {other}. Is it of another problem?")
    return Schedule(tuple(found[name][0] for name in names), tuple(found[name][1] for name in names))


def _tasks(problem: Problem, schedule: Schedule) -> list[dict[str, Any]]:
    end = ends(problem, schedule)
    order = sorted(range(problem.num_tasks), key=lambda task: (schedule.starts[task], task))
    return [
        {
            "task": problem.task_name(task),
            "job": problem.job_name(problem.tasks[task].job),
            "start": schedule.starts[task],
            "end": end[task],
            "mode": schedule.modes[task],
            "on": {problem.resource_name(r): amount for r, amount in mode_of(problem, schedule, task).needs},
        }
        for task in order
    ]
