"""Single machines with due times as text: the files of OR-Library's weighted tardiness (``wt40.txt``).

Numbers alone: for each instance n durations, n weights and n due times. How many jobs an instance has is not in the
file; it is read from its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from headway.policies.shop.making import single_machine
from headway.policies.shop.problem import Problem
from headway.sim.shop.instances.words import Line, Numbers, wrong


def num_jobs(name: str) -> int | None:
    """Return how many jobs the instances of a file like ``wt40`` have."""
    found = re.match(r"wt[_-]?(\d+)", name.lower())
    return int(found[1]) if found else None


def read_tardiness(where: str, name: str, source: Sequence[Line]) -> list[Problem]:
    """Read every instance of a file, named ``wt40_001`` and so on."""
    count = num_jobs(name)
    if not count:
        advice = "Name the file by its number of jobs"
        raise wrong(where, "a file of weighted tardiness must be called like wt40.txt", repr(name), advice=advice)
    numbers = Numbers(where, source)
    found: list[Problem] = []
    while numbers.num_left:
        durations = [numbers.take("a duration") for _ in range(count)]
        weights = [numbers.take("a weight") for _ in range(count)]
        due = [numbers.take("a due time") for _ in range(count)]
        found.append(single_machine(f"{name}_{len(found) + 1:03}", durations, due, weights))
    return found


def write_tardiness(problems: Sequence[Problem]) -> str:
    """Return single machines as numbers: durations, weights and due times of each."""
    rows = []
    for problem in problems:
        rows.append(" ".join(str(task.modes[0].duration) for task in problem.tasks))
        rows.append(" ".join(f"{job.weight:g}" for job in problem.jobs))
        rows.append(" ".join(str(job.due) for job in problem.jobs))
    return "\n".join([*rows, ""])
