"""Projects as text: the tables of PSPLIB (``.sm``, ``.mm``) and the rows of Patterson (``.rcp``)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headway.policies.shop.making import project
from headway.policies.shop.problem import Job, Mode, Problem, Task
from headway.sim.shop.instances.words import CUT_OFF, MOST, Line, Numbers, is_whole, lines, wrong

SECTIONS = ("PRECEDENCE RELATIONS", "REQUESTS/DURATIONS", "RESOURCEAVAILABILITIES")


def is_psplib(text: str) -> bool:
    """Say whether a text has the sections of PSPLIB."""
    return SECTIONS[0] in text.upper()


def read_psplib(where: str, name: str, text: str) -> Problem:
    """Read a project in PSPLIB's form, with one mode per activity or several.

    Raises
    ------
    ConfigError
        When a section is missing or wrong, or resources that do not come back are limited.
    """
    num_renewable, num_other = _num_resources(where, text)
    sections = {title: _section(where, text, title) for title in SECTIONS}
    capacity = _capacity(where, sections[SECTIONS[2]], num_renewable + num_other)
    modes = _modes(where, sections[SECTIONS[1]], capacity, num_renewable)
    _check_count(where, text, len(modes))
    after = _after(where, sections[SECTIONS[0]], len(modes))
    tasks = tuple(
        Task(tuple(ways), after=tuple(before), name=f"A{number}")
        for number, (ways, before) in enumerate(zip(modes, after, strict=True))
    )
    return Problem(name=name, tasks=tasks, jobs=(Job(name="project"),), capacity=tuple(capacity[:num_renewable]))


def _num_resources(where: str, text: str) -> tuple[int, int]:
    counts = {}
    for kind in ("renewable", "nonrenewable", "doubly constrained"):
        found = re.search(rf"^\s*-\s*{kind}\s*:\s*(\d{{1,9}})", text, re.MULTILINE | re.IGNORECASE)
        counts[kind] = int(found[1]) if found else 0
    if counts["doubly constrained"]:
        raise wrong(where, "resources must be renewable", "doubly constrained ones", advice="They are not supported")
    return counts["renewable"], counts["nonrenewable"]


def _check_count(where: str, text: str, count: int) -> None:
    said = re.search(r"^\s*jobs\s*\(.*?\)\s*:\s*(\d{1,9})", text, re.MULTILINE | re.IGNORECASE)
    if said and int(said[1]) != count:
        raise wrong(where, f"{said[1]} activities must have durations, as the head says", str(count), advice=CUT_OFF)


def _section(where: str, text: str, title: str) -> list[Line]:
    """Return the lines of numbers below a title."""
    found, is_inside = [], False
    for line in lines(text, comment="*"):
        said = " ".join(line.words).upper()
        if said.startswith(title):
            is_inside = True
        elif is_inside and said.rstrip(":").startswith(SECTIONS):
            break
        elif is_inside and is_whole(line.words[0]):
            found.append(line)
    if not found:
        raise wrong(where, f"a section {title} must follow", "none", advice=CUT_OFF)
    return found


def _capacity(where: str, source: list[Line], count: int) -> list[int]:
    numbers = Numbers(where, source)
    capacity = [numbers.take("a capacity") for _ in range(count)]
    numbers.end(f"{count} capacities")
    return capacity


def _modes(where: str, source: list[Line], capacity: list[int], num_renewable: int) -> list[list[Mode]]:
    """Return the modes of each activity; the row of a later mode of an activity does not repeat its number."""
    modes: list[list[Mode]] = []
    for line in source:
        numbers = Numbers(where, [line], "row")
        if len(line.words) == len(capacity) + 3:
            if numbers.take("an activity") != len(modes) + 1:
                raise numbers.wrong(f"activity {len(modes) + 1} must come next", line.words[0])
            modes.append([])
        elif not modes:
            raise numbers.wrong(f"a row must have {len(capacity) + 3} numbers", str(len(line.words)))
        numbers.take(f"a mode of activity {len(modes)}", 1)
        duration = numbers.take(f"a duration of activity {len(modes)}")
        needs = [numbers.take(f"a need of activity {len(modes)}", 0) for _ in capacity]
        numbers.end("the last need")
        _check_needs(numbers, needs, capacity, num_renewable)
        modes[-1].append(Mode(duration, tuple((r, n) for r, n in enumerate(needs[:num_renewable]) if n)))
    return modes


def _check_needs(numbers: Numbers, needs: list[int], capacity: list[int], num_renewable: int) -> None:
    for resource, (need, most) in enumerate(zip(needs, capacity, strict=True)):
        if resource < num_renewable and need > most:
            raise numbers.wrong(f"a need of resource {resource + 1} must be <= {most}", str(need))
        if resource >= num_renewable and need:
            advice = "What is used up for good is not supported"
            raise numbers.wrong("a need of a resource that is not renewable must be 0", str(need), advice)


def _after(where: str, source: list[Line], count: int) -> list[list[int]]:
    after: list[list[int]] = [[] for _ in range(count)]
    for line in source:
        numbers = Numbers(where, [line], "row")
        activity = numbers.take("an activity", 1, count) - 1
        numbers.take("a number of modes", 1)
        for _ in range(numbers.take("a number of successors")):
            after[numbers.take(f"a successor of activity {activity + 1}", 1, count) - 1].append(activity)
        numbers.end("the last successor")
    return after


def read_patterson(where: str, name: str, source: Sequence[Line]) -> Problem:
    """Read a project in Patterson's form.

    "activities resources", the capacities, then for each activity its duration, needs, number of successors, successors
    from 1.
    """
    numbers = Numbers(where, source)
    count, num_resources = (
        numbers.take("the number of activities", 1, MOST),
        numbers.take("the number of resources", 0, MOST),
    )
    capacity = [numbers.take("a capacity") for _ in range(num_resources)]
    durations, needs, successors = [], [], []
    for activity in range(1, count + 1):
        durations.append(numbers.take(f"the duration of activity {activity}"))
        needs.append([numbers.take(f"a need of activity {activity}", 0, most) for most in capacity])
        following = range(numbers.take(f"the number of successors of activity {activity}", 0, count))
        successors.append([numbers.take(f"a successor of activity {activity}", 1, count) - 1 for _ in following])
    numbers.end(f"{count} activities")
    return project(name, durations, needs, successors, capacity)


def successors_of(problem: Problem) -> list[list[int]]:
    """Return for each task those that wait for it."""
    found: list[list[int]] = [[] for _ in problem.tasks]
    for number, task in enumerate(problem.tasks):
        for before in task.after:
            found[before].append(number)
    return found


def write_patterson(problem: Problem) -> str:
    """Return a project in Patterson's form."""
    rows = [f"{problem.num_tasks} {problem.num_resources}", " ".join(map(str, problem.capacity))]
    for task, following in zip(problem.tasks, successors_of(problem), strict=True):
        need = dict(task.modes[0].needs)
        needs = [need.get(resource, 0) for resource in range(problem.num_resources)]
        rows.append(" ".join(map(str, [task.modes[0].duration, *needs, len(following), *(n + 1 for n in following)])))
    return "\n".join([*rows, ""])


def write_psplib(problem: Problem) -> str:
    """Return a project in PSPLIB's form."""
    following = successors_of(problem)
    precedence = [
        " ".join(map(str, [number + 1, len(task.modes), len(following[number]), *(n + 1 for n in following[number])]))
        for number, task in enumerate(problem.tasks)
    ]
    requests = []
    for number, task in enumerate(problem.tasks):
        for place, mode in enumerate(task.modes):
            need = dict(mode.needs)
            needs = [need.get(resource, 0) for resource in range(problem.num_resources)]
            requests.append(" ".join(map(str, [*([] if place else [number + 1]), place + 1, mode.duration, *needs])))
    names = " ".join(f"R {resource + 1}" for resource in range(problem.num_resources))
    return "\n".join(
        [
            f"jobs (incl. supersource/sink ): {problem.num_tasks}",
            f"  - renewable : {problem.num_resources} R",
            "PRECEDENCE RELATIONS:",
            "jobnr. #modes #successors successors",
            *precedence,
            "REQUESTS/DURATIONS:",
            f"jobnr. mode duration {names}",
            *requests,
            "RESOURCEAVAILABILITIES:",
            names,
            " ".join(map(str, problem.capacity)),
            "",
        ]
    )
