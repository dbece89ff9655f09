"""An independent check of every rule that links must keep."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from headway.core.nouns import Id
from headway.policies.shop.ffeea_nouns import Link, LinkProblem, LinkTask


def faults(problem: LinkProblem, links: Sequence[Link]) -> list[str]:
    """Return what is wrong with links, a sentence each; empty when they keep every rule of the problem."""
    tasks = {task.id: task for task in problem.tasks}
    unknown = [f"there is no task {link.task}" for link in links if link.task not in tasks]
    if unknown:
        return unknown
    found = [f"{link.task} is built twice" for n, link in enumerate(links) if link.task in {o.task for o in links[:n]}]
    for link in links:
        found += _alone(problem, tasks[link.task], link)
    return [*found, *_of_antennas(problem, tasks, links), *_of_feeds(problem, tasks, links)]


def _alone(problem: LinkProblem, task: LinkTask, link: Link) -> Iterator[str]:
    if not task.min_s <= link.end_s - link.start_s <= task.max_s:
        yield f"{task.id} lasts {link.end_s - link.start_s} s, not {task.min_s} to {task.max_s}"
    if link.start_s - task.setup_s < problem.now_s:
        yield f"the setup of {task.id} begins in the past"
    if not any(
        set(window.antennas) == set(link.antennas) and window.start_s <= link.start_s and link.end_s <= window.end_s
        for window in task.windows
    ):
        yield f"{task.id} cannot be seen by {', '.join(link.antennas)} from {link.start_s} to {link.end_s}"


def _of_antennas(problem: LinkProblem, tasks: dict[Id, LinkTask], links: Sequence[Link]) -> Iterator[str]:
    use: dict[Id, list[tuple[int, int]]] = defaultdict(list)
    blocked: dict[Id, list[tuple[int, int]]] = defaultdict(list)
    for one in problem.taken:
        blocked[one.antenna].append((one.start_s, one.end_s))
    for link in links:
        task = tasks[link.task]
        for antenna in link.antennas:
            use[antenna].append((link.start_s - task.setup_s, link.end_s + task.teardown_s))
    for antenna, spans in use.items():
        spans.sort()
        if any(start < end for (_, end), (start, _) in pairwise(spans)):
            yield f"{antenna} serves two links at once"
        if any(start < away[1] and away[0] < end for start, end in spans for away in blocked[antenna]):
            yield f"{antenna} serves a link while it is taken"


def _of_feeds(problem: LinkProblem, tasks: dict[Id, LinkTask], links: Sequence[Link]) -> Iterator[str]:
    if not problem.switch_s:
        return
    use: dict[Id, list[tuple[int, int, int]]] = defaultdict(list)
    for one in problem.fed:
        use[one.satellite].append((one.start_s, one.end_s, one.mode))
    for link in links:
        task = tasks[link.task]
        use[task.satellite].append((link.start_s, link.end_s, task.mode))
    for satellite, spans in use.items():
        spans.sort()
        for (_, end, mode), (start, _, other) in pairwise(spans):
            if start < end + problem.switch_s[mode][other]:
                yield f"{satellite} must switch its feed between {end} and {start}"
