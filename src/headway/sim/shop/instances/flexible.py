"""Flexible job shops as text (``.fjs``).

"jobs machines [mean number of alternatives]", then for each job a row: the number of its tasks and, for each of them,
the number of alternatives and as many "machine duration" pairs with machines from 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.policies.shop.making import flexible_job_shop
from headway.policies.shop.problem import Problem
from headway.sim.shop.instances.words import ADVICE, CUT_OFF, MOST, Line, Numbers, wrong


def read_flexible(where: str, name: str, source: Sequence[Line]) -> Problem:
    """Read a flexible job shop."""
    if not source or len(source[0].words) < 2:
        raise wrong(where, "the numbers of jobs and machines must come first", "none", 1)
    head = Numbers(where, [Line(source[0].number, source[0].words[:2])], "row")
    num_jobs, num_machines = head.take("the number of jobs", 1, MOST), head.take("the number of machines", 1, MOST)
    if len(source) - 1 != num_jobs:
        advice = CUT_OFF if len(source) <= num_jobs else ADVICE
        raise wrong(where, f"{num_jobs} rows of jobs must follow", str(len(source) - 1), source[-1].number, advice)
    rows = [_row(where, line, job, num_machines) for job, line in enumerate(source[1:])]
    return flexible_job_shop(name, rows, capacity=(1,) * num_machines)


def _row(where: str, line: Line, job: int, num_machines: int) -> list[list[tuple[int, int]]]:
    numbers = Numbers(where, [line], "row")
    row = []
    for _ in range(numbers.take(f"the number of tasks of job {job}", 1)):
        alternatives = []
        for _ in range(numbers.take(f"a number of alternatives of job {job}", 1)):
            machine = numbers.take(f"a machine of job {job}", 1, num_machines) - 1
            alternatives.append((machine, numbers.take(f"a duration of job {job}")))
        row.append(alternatives)
    numbers.end(f"{len(row)} tasks")
    return row


def write_flexible(problem: Problem) -> str:
    """Return a flexible job shop as text; each task must be on one machine at a time."""
    chains = problem.chains or ()
    ways = sum(len(task.modes) for task in problem.tasks)
    rows = [f"{len(chains)} {problem.num_resources} {ways / max(problem.num_tasks, 1):.2f}"]
    for chain in chains:
        row = [len(chain)]
        for number in chain:
            modes = problem.tasks[number].modes
            row += [len(modes), *(n for mode in modes for n in (mode.needs[0][0] + 1, mode.duration))]
        rows.append(" ".join(map(str, row)))
    return "\n".join([*rows, ""])
