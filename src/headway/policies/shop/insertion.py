"""Job by job: each job in turn gets the soonest way through the gaps that the jobs before it have left.

So the machines of a job that blocks are never taken by two, and no jobs wait for each other in a circle but those that
may swap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from headway.policies.shop.problem import Problem
from headway.policies.shop.schedule import Schedule

FAR = 1 << 60
Span: TypeAlias = tuple[int, int]
Stop: TypeAlias = tuple[int, int, Span]
"""Start, mode, and the gap that it lies in."""


class Gaps:
    """When each machine is taken.

    Parameters
    ----------
    problem : Problem
        A job shop with blocking machines, flexible or not.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._taken: list[list[Span]] = [[] for _ in problem.capacity]
        for down in problem.downtimes:
            if down.end > down.start:
                self.take(down.resource, (down.start, down.end))

    def take(self, machine: int, span: Span) -> None:
        """Take a machine for a span."""
        self._taken[machine].append(span)
        self._taken[machine].sort()

    def give(self, machine: int, span: Span) -> None:
        """Give back what was taken."""
        self._taken[machine].remove(span)

    def free(self, machine: int) -> Iterator[Span]:
        """Yield the gaps of a machine in order; the last never ends."""
        at = 0
        for start, end in self._taken[machine]:
            if start > at:
                yield at, start
            at = max(at, end)
        yield at, FAR

    def way(self, chain: Sequence[int]) -> list[Stop] | None:
        """Return the way of a job that ends soonest, a stop per task; None when there is none.

        Of two ways into one gap the sooner is never worse, as a job may wait where it is.
        """
        steps: list[dict[tuple[int, Span], tuple[Stop, tuple[int, Span] | None]]] = []
        for place, task in enumerate(chain):
            found: dict[tuple[int, Span], tuple[Stop, tuple[int, Span] | None]] = {}
            sources = [(None, None)] if not place else list(steps[-1].items())
            for key, source in sources:
                for stop in self._stops(task, chain[place - 1], source[0] if source else None):
                    name = (stop[1], stop[2])
                    if name not in found or stop[0] < found[name][0][0]:
                        found[name] = (stop, key)
            if not found:
                return None
            steps.append(found)
        return self._traced(chain, steps)

    def _traced(
        self, chain: Sequence[int], steps: list[dict[tuple[int, Span], tuple[Stop, tuple[int, Span] | None]]]
    ) -> list[Stop]:
        modes = self._problem.tasks[chain[-1]].modes
        key: tuple[int, Span] | None = min(steps[-1], key=lambda one: steps[-1][one][0][0] + modes[one[0]].duration)
        way = []
        for found in reversed(steps):
            assert key is not None
            stop, key = found[key]
            way.append(stop)
        return way[::-1]

    def _stops(self, task: int, earlier: int, source: Stop | None) -> Iterator[Stop]:
        """Yield where a task can start, coming from the stop of the task before it."""
        one = self._problem.tasks[task]
        soonest, latest = one.release, FAR
        if source is not None:
            soonest = max(soonest, source[0] + self._problem.tasks[earlier].modes[source[1]].duration)
            # Who may not swap leaves before the next one comes, so that no circle of moves can close.
            latest = source[2][1] - (0 if self._problem.swap or source[2][1] == FAR else 1)
        for mode, way in enumerate(one.modes):
            for gap in self.free(way.needs[0][0]):
                start = max(soonest, gap[0])
                if one.fixed_start is not None:
                    start = one.fixed_start
                if gap[0] <= start and start + way.duration <= gap[1] and start <= latest:
                    yield start, mode, gap


def insert_jobs(problem: Problem, order: Iterable[int]) -> Schedule | None:
    """Return the schedule in which jobs get their ways one after the other; None where one finds none.

    Parameters
    ----------
    problem : Problem
        A job shop with blocking machines, flexible or not.
    order : iterable of int
        Of jobs; those with tasks under way come first whatever it says.
    """
    gaps, chains = Gaps(problem), problem.chains or ()
    begun = [job for job, chain in enumerate(chains) if any(problem.tasks[n].fixed_start is not None for n in chain)]
    held = {task: _span(problem, task) for job in begun for task in chains[job]
            if problem.tasks[task].fixed_start is not None}  # fmt: skip
    for task, span in held.items():
        gaps.take(_machine(problem, task, 0), span)
    starts, modes = [0] * problem.num_tasks, [0] * problem.num_tasks
    for job in [*begun, *(one for one in order if one not in set(begun))]:
        for task in chains[job]:
            if task in held:
                gaps.give(_machine(problem, task, 0), held[task])
        way = gaps.way(chains[job]) if chains[job] else []
        if way is None:
            return None
        for at, (task, stop) in enumerate(zip(chains[job], way, strict=True)):
            starts[task], modes[task] = stop[0], stop[1]
            end = stop[0] + problem.tasks[task].modes[stop[1]].duration
            left = way[at + 1][0] if at + 1 < len(way) else end
            if left > stop[0]:
                gaps.take(_machine(problem, task, stop[1]), (stop[0], left))
    return Schedule(tuple(starts), tuple(modes))


def _span(problem: Problem, task: int) -> Span:
    start = problem.tasks[task].fixed_start or 0
    return start, start + problem.tasks[task].modes[0].duration


def _machine(problem: Problem, task: int, mode: int) -> int:
    return problem.tasks[task].modes[mode].needs[0][0]
