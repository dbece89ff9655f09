"""Job shops and flow shops as text: rows of pairs, or Taillard's tables.

The usual form has "jobs machines" and then, for each job, a row of "machine duration" pairs with machines from 0.
Taillard's has a table of durations and a table of machines from 1, with or without words between them; his flow shops
have one row of durations per machine. OR-Library's collection has many of the first kind, each after "instance NAME".
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.policies.shop.making import flow_shop, job_shop
from headway.policies.shop.problem import Problem
from headway.sim.shop.instances.words import LARGEST, MOST, Line, Numbers, all_numbers, lines, wrong


def read_rows(where: str, name: str, source: Sequence[Line]) -> Problem:
    """Read rows of (machine, duration) pairs, one row per job."""
    numbers = Numbers(where, source)
    num_jobs, num_machines = _size(numbers)
    rows = []
    for job in range(num_jobs):
        row = []
        for _ in range(num_machines):
            machine = numbers.take(f"a machine of job {job}", 0, num_machines - 1)
            row.append((machine, numbers.take(f"a duration of job {job}")))
        rows.append(row)
    numbers.end(f"{num_jobs} jobs of {num_machines} tasks")
    return job_shop(name, rows, capacity=(1,) * num_machines)


def is_taillard(source: Sequence[Line]) -> bool:
    """Say whether a job shop has tables of durations and of machines: by its words, or by how long its rows are."""
    words = {word.lower().strip(":") for line in source[:40] if not all_numbers(line) for word in line.words}
    if "times" in words or "machines" in words:
        return True
    sizes = [len(line.words) for line in source]
    if len(sizes) < 2 or sizes[0] != 2 or not all_numbers(source[0]):
        return False
    num_jobs, num_machines = (int(float(word)) for word in source[0].words)
    return len(sizes) == 2 * num_jobs + 1 and set(sizes[1:]) == {num_machines}


def read_taillard(where: str, name: str, source: Sequence[Line]) -> Problem:
    """Read Taillard's job shop: durations, then machines, a row per job."""
    head, data = _head(where, source)
    num_jobs, num_machines = head[:2]
    numbers = Numbers(where, data)
    durations = _table(numbers, num_jobs, num_machines, "a duration", 0, LARGEST)
    machines = _table(numbers, num_jobs, num_machines, "a machine", 1, num_machines)
    numbers.end(f"two tables of {num_jobs} rows")
    rows = [
        [(machine - 1, duration) for machine, duration in zip(*both, strict=True)]
        for both in zip(machines, durations, strict=True)
    ]
    upper, lower = (head[4], head[5]) if len(head) == 6 else (None, None)
    return job_shop(name, rows, capacity=(1,) * num_machines, best_known=upper or None, bound=lower or None)


def is_flow_shop(source: Sequence[Line]) -> bool:
    """Say whether a file is a flow shop of Taillard's: by its words."""
    return any("processing times" in " ".join(line.words).lower() for line in source)


def read_flow_shops(where: str, name: str, source: Sequence[Line]) -> list[Problem]:
    """Read Taillard's flow shops: a table of durations each, with a row per machine; all machines keep one order."""
    heads = [place for place, line in enumerate(source) if " ".join(line.words).lower().startswith("number of jobs")]
    if not heads:
        raise wrong(where, 'a flow shop must begin with "number of jobs, ..."', repr(" ".join(source[0].words)))
    spans = list(zip(heads, [*heads[1:], len(source)], strict=True))
    names = [name] if len(spans) == 1 else [f"{name}_{place + 1:02}" for place in range(len(spans))]
    return [_flow_shop(where, one, source[low:high]) for one, (low, high) in zip(names, spans, strict=True)]


def _flow_shop(where: str, name: str, source: Sequence[Line]) -> Problem:
    head, data = _head(where, source)
    numbers = Numbers(where, data)
    rows = _table(numbers, head[1], head[0], "a duration", 0, LARGEST)
    numbers.end(f"{head[1]} rows of {head[0]} durations")
    upper, lower = (head[3], head[4]) if len(head) == 5 else (None, None)
    jobs = list(zip(*rows, strict=True))
    return flow_shop(name, jobs, permutation=True, best_known=upper or None, bound=lower or None)


def read_named(where: str, source: Sequence[Line]) -> list[Problem]:
    """Read a collection in which each job shop comes after a line "instance NAME" and one that describes it."""
    heads = [place for place, line in enumerate(source) if is_name(line)]
    found = []
    for low, high in zip(heads, [*heads[1:], len(source)], strict=True):
        data = [line for line in source[low + 1 : high] if all_numbers(line)]
        if data:
            found.append(read_rows(where, source[low].words[1], data))
    return found


def is_name(line: Line) -> bool:
    """Say whether a line names the instance that follows."""
    return len(line.words) == 2 and line.words[0].lower() == "instance"


def write_rows(problem: Problem, rows: Sequence[Sequence[tuple[int, int]]]) -> str:
    """Return a job shop as rows of pairs."""
    head = f"{len(rows)} {problem.num_resources}"
    return "\n".join([head, *(" ".join(f"{machine} {duration}" for machine, duration in row) for row in rows), ""])


def write_taillard(problem: Problem, rows: Sequence[Sequence[tuple[int, int]]]) -> str:
    """Return a job shop as two tables."""
    tables = [[duration for _, duration in row] for row in rows] + [[machine + 1 for machine, _ in row] for row in rows]
    head = f"{len(rows)} {problem.num_resources}"
    return "\n".join([head, *(" ".join(map(str, row)) for row in tables), ""])


def write_flow(problem: Problem, rows: Sequence[Sequence[tuple[int, int]]]) -> str:
    """Return a flow shop as a table of durations, a row per machine."""
    columns = zip(*([duration for _, duration in row] for row in rows), strict=True)
    facts = [len(rows), problem.num_resources, 0, problem.best_known or 0, problem.bound or 0]
    head = "number of jobs, number of machines, initial seed, upper bound and lower bound :"
    table = (" ".join(map(str, row)) for row in columns)
    return "\n".join([head, " ".join(map(str, facts)), "processing times :", *table, ""])


def read_text(where: str, name: str, text: str) -> Problem | list[Problem]:
    """Read a job shop or flow shop in whichever of these forms it has."""
    source = lines(text)
    if any(is_name(line) for line in source):
        return read_named(where, lines(text, comment="+"))
    if is_flow_shop(source):
        found = read_flow_shops(where, name, source)
        return found[0] if len(found) == 1 else found
    return (read_taillard if is_taillard(source) else read_rows)(where, name, source)


def _size(numbers: Numbers) -> tuple[int, int]:
    return numbers.take("the number of jobs", 1, MOST), numbers.take("the number of machines", 1, MOST)


def _head(where: str, source: Sequence[Line]) -> tuple[list[int], list[Line]]:
    """Return the numbers of the first line of numbers, and the lines of numbers that follow; words are names."""
    rows = [line for line in source if all_numbers(line)]
    mixed = [line for line in source if not all_numbers(line) and any(word[0].isdigit() for word in line.words)]
    if mixed:
        raise wrong(where, "a row must hold whole numbers alone", repr(" ".join(mixed[0].words)), mixed[0].number)
    if not rows or len(rows[0].words) < 2:
        raise wrong(where, "the numbers of jobs and machines must come first", "none")
    numbers = Numbers(where, rows[:1])
    head = [*_size(numbers), *(numbers.take("a number of the head") for _ in rows[0].words[2:])]
    return head, rows[1:]


def _table(numbers: Numbers, num_rows: int, num_columns: int, what: str, low: int, high: int) -> list[list[int]]:
    return [
        [numbers.take(f"{what} of row {row + 1}", low, high) for _ in range(num_columns)] for row in range(num_rows)
    ]
