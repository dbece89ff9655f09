"""Instances as text, in the formats that people exchange."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from headway.core.errors import ConfigError
from headway.policies.shop.problem import Problem
from headway.sim.shop.instances import flexible, job_shops, json_rows, projects, tardiness

Format: TypeAlias = Literal["rows", "taillard", "flow", "fjs", "rcp", "sm", "wt", "json"]


def write(problem: Problem, form: Format) -> str:
    """Return a problem as text in one of the formats that `door.read` reads.

    Parameters
    ----------
    problem : Problem
        What is written.
    form : str
        ``"rows"`` or ``"taillard"`` (job shops), ``"flow"`` (permutation flow shops), ``"fjs"`` (flexible job shops),
        ``"rcp"`` or ``"sm"`` (projects), ``"wt"`` (single machines with due times), or ``"json"``, which has every
        rule there is.

    Raises
    ------
    ConfigError
        When the format cannot say what the problem is.
    """
    if form == "json":
        return json_rows.write_json(problem)
    if form == "wt":
        is_due = all(job.due is not None for job in problem.jobs)
        _must(problem, problem.kind == "single machine" and is_due, form, "a single machine with due times")
        return tardiness.write_tardiness([problem])
    _must(problem, _is_plain(problem), form, "nothing but tasks, precedence and resources")
    _must(problem, problem.permutation == (form == "flow"), form, "a permutation flow shop, and no other form may be")
    if form in ("rcp", "sm"):
        return _project(problem, form)
    if form == "fjs":
        _must(problem, problem.kind != "project", form, "a job shop")
        return flexible.write_flexible(problem)
    rows = _rows(problem, form)
    write_one = {"rows": job_shops.write_rows, "taillard": job_shops.write_taillard, "flow": job_shops.write_flow}
    return write_one[form](problem, rows)


def _is_plain(problem: Problem) -> bool:
    """Say whether a problem has none of the rules for which text has no words."""
    free = all(not task.release and task.fixed_start is None for task in problem.tasks)
    patient = problem.objective == "makespan" and all(job.deadline is None for job in problem.jobs)
    return free and patient and not problem.blocking and not problem.downtimes


def _project(problem: Problem, form: str) -> str:
    if form == "sm":
        return projects.write_psplib(problem)
    _must(problem, all(len(task.modes) == 1 for task in problem.tasks), form, "a project of one mode each")
    return projects.write_patterson(problem)


def _rows(problem: Problem, form: str) -> Sequence[Sequence[tuple[int, int]]]:
    """Return (machine, duration) pairs by job."""
    is_plain = problem.kind in ("job shop", "flow shop", "single machine")
    has_full_rows = all(len(chain) == problem.num_resources for chain in problem.chains or ())
    _must(problem, is_plain and has_full_rows, form, "a job shop in which each job has a task for each machine")
    modes = [[problem.tasks[number].modes[0] for number in chain] for chain in problem.chains or ()]
    return [[(mode.needs[0][0], mode.duration) for mode in row] for row in modes]


def _must(problem: Problem, is_so: bool, form: str, what: str) -> None:
    if not is_so:
        raise ConfigError(f"problem {problem.name}: {form!r} must be given {what}, got a {problem.kind}. Write json.")
