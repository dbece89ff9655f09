"""Instances as JSON: one problem with every rule there is, or a row per instance of a collection.

A row has ``name`` and one of these shapes:

- ``data``: for each job its tasks, each ``[machine, duration]`` or a list of such alternatives; machines from 0;
- ``data``: for each activity ``{"d": duration, "req": needs, "succ": successors}``, with ``capacity``;
- ``p``, ``d`` and perhaps ``w``: durations, due times and weights on a single machine.

It may also have ``lb`` and ``ub`` (best known bounds) or ``opt``; ``due``, ``deadline``, ``release`` and ``weight`` (by
job); ``objective``, ``blocking``, ``swap``, ``permutation``. A whole `Problem` has ``tasks`` instead, field by field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import fields, replace

from headway.core.errors import ConfigError
from headway.policies.shop.making import flexible_job_shop, job_shop, project, single_machine
from headway.policies.shop.problem import Job, Problem, Task
from headway.sim.shop.instances.words import LARGEST, MOST, wrong

Row: TypeAlias = Mapping[str, Any]

BY_JOB = ("due", "deadline", "weight")
RULES = ("objective", "blocking", "swap", "permutation")
FACTS = ("name", "family", "jobs", "machines", "activities", "n", "data", "capacity", "lb", "ub", "opt", "p", "w", "d")


def read_json(where: str, name: str, text: str) -> Problem | list[Problem]:
    """Read JSON: a problem, a row, a list of rows, or a row per line."""
    try:
        rows = _rows(text)
    except json.JSONDecodeError as error:
        raise wrong(where, "it must be JSON", error.msg, error.lineno) from None
    except ValueError as error:  # of digits without end
        raise wrong(where, "it must be an instance", str(error)) from None
    except RecursionError:
        raise wrong(where, "it must be an instance", "brackets within brackets without end") from None
    found = [_problem(f"{where}: line {number}" if number else where, name, row) for number, row in rows]
    return found[0] if len(found) == 1 else found


def _rows(text: str) -> list[tuple[int, Any]]:
    """Return (line, row) pairs; line 0 where the whole text is one value."""
    try:
        whole = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError:
        if len([line for line in text.splitlines() if line.strip()]) < 2 or not text.lstrip().startswith("{"):
            raise
        return _by_line(text)
    return [(0, row) for row in whole] if isinstance(whole, list) else [(0, whole)]


def _by_line(text: str) -> list[tuple[int, Any]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append((number, json.loads(line, parse_constant=_no_number)))
            except json.JSONDecodeError as error:
                raise json.JSONDecodeError(error.msg, "\n" * (number - 1) + line, number - 1 + error.pos) from None
    return rows


def _no_number(word: str) -> float:
    raise json.JSONDecodeError(f"{word}, which is no number", "", 0)


def _problem(where: str, name: str, row: Any) -> Problem:
    if not isinstance(row, dict):
        raise wrong(where, "an instance must be an object", type(row).__name__)
    try:
        return _whole(where, row) if "tasks" in row else _short(where, str(row.get("name", name)), row)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise wrong(where, "an instance must have one of the known shapes", what) from None


def _whole(where: str, row: Row) -> Problem:
    _known(where, row, [field.name for field in fields(Problem)])
    for part, kind in (("tasks", Task), ("jobs", Job)):
        for one in row.get(part, ()):
            _known(where, one, [field.name for field in fields(kind)])
    return _sane(where, msgspec.convert(row, Problem))


def _sane(where: str, problem: Problem) -> Problem:
    """Return a problem whose numbers can be added up."""
    numbers: list[float] = [*problem.capacity]
    for task in problem.tasks:
        amounts = (amount for mode in task.modes for _, amount in mode.needs)
        numbers += [*(mode.duration for mode in task.modes), *amounts, task.release, task.fixed_start or 0]
    for job in problem.jobs:
        numbers += [job.due or 0, job.deadline or 0, job.weight]
    for down in problem.downtimes:
        numbers += [down.start, down.end]
    largest = max((abs(number) for number in numbers), default=0)
    if largest > LARGEST:
        raise wrong(where, f"numbers must be <= {LARGEST}", str(largest))
    return problem


def _short(where: str, name: str, row: Row) -> Problem:
    _known(where, row, [*FACTS, *BY_JOB, "release", *RULES])
    facts = {"best_known": row.get("ub", row.get("opt")), "bound": row.get("lb", row.get("opt"))}
    made = _made(where, name, row, facts | {rule: row[rule] for rule in RULES if rule in row})
    # A round trip checks the types of all that came through as it was.
    return _sane(where, msgspec.convert(msgspec.to_builtins(_with_jobs(where, made, row)), Problem))


def _made(where: str, name: str, row: Row, more: dict[str, Any]) -> Problem:
    if "p" in row:
        return single_machine(name, row["p"], row["d"], row.get("w"), **more)
    data = row["data"]
    if "capacity" in row:
        successors = [list(one["succ"]) for one in data]
        for number, following in enumerate(successors):
            _in_range(where, f"successors of activity {number}", following, len(data))
        return project(
            name, [one["d"] for one in data], [one["req"] for one in data], successors, row["capacity"], **more
        )
    is_flexible = any(isinstance(task[0], list) for job in data for task in job)
    ways = [[list(map(tuple, task)) if is_flexible else [tuple(task)] for task in job] for job in data]
    used = [machine for job in ways for task in job for machine, _ in task]
    num_machines = row.get("machines", max(used, default=0) + 1)
    _in_range(where, "the number of machines", [num_machines], MOST + 1)
    _in_range(where, "machines", used, num_machines)
    return (flexible_job_shop if is_flexible else _plain)(name, ways, capacity=(1,) * num_machines, **more)


def _plain(name: str, ways: list[list[list[tuple[int, int]]]], **more: Any) -> Problem:
    return job_shop(name, [[task[0] for task in job] for job in ways], **more)


def _with_jobs(where: str, made: Problem, row: Row) -> Problem:
    """Return a problem with what its row says of each job."""
    for field in (*BY_JOB, "release"):
        if field in row and len(row[field]) != len(made.jobs):
            raise wrong(where, f"{field} must have a number for each of {len(made.jobs)} jobs", str(len(row[field])))
    jobs = tuple(
        replace(job, **{field: row[field][number] for field in BY_JOB if field in row})
        for number, job in enumerate(made.jobs)
    )
    tasks = made.tasks
    if "release" in row:
        tasks = tuple(task if task.after else replace(task, release=row["release"][task.job]) for task in tasks)
    return replace(made, jobs=jobs, tasks=tasks)


def _known(where: str, row: Row, known: list[str]) -> None:
    strange = sorted(set(row) - set(known))
    if strange:
        raise wrong(where, f"fields must be among {', '.join(known)}", repr(strange[0]))


def _in_range(where: str, what: str, numbers: list[int], count: int) -> None:
    for number in numbers:
        if not 0 <= number < count:
            raise wrong(where, f"{what} must be in 0..{count - 1}", str(number))


def write_json(problem: Problem) -> str:
    """Return a problem as JSON, with every rule it has."""
    text = msgspec.json.encode(msgspec.to_builtins(problem)).decode()
    return f"{text}\n"
