"""Flow shops as arrays, and orders of jobs as schedules."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.policies.shop.generate import after_downtimes, downtimes
from headway.policies.shop.problem import Problem
from headway.policies.shop.schedule import Schedule


class FlowModel(Struct, frozen=True):
    """A flow shop for the search of an order.

    Parameters
    ----------
    problem : Problem
        What it is of.
    times : tuple of tuple of int
        Durations, [jobs to order, stages]; 0 where a job does not pass a stage, or has passed it.
    jobs : tuple of int
        The job of the problem, by row of `times`.
    first : tuple of int
        Jobs with tasks under way, in the order in which they come before all others.
    bound : int or None
        No schedule ends sooner; None where nothing so simple is proven, as with what is under way or released later.
    """

    problem: Problem
    times: tuple[tuple[int, ...], ...]
    jobs: tuple[int, ...]
    first: tuple[int, ...]
    bound: int | None

    def schedule(self, order: Sequence[int]) -> Schedule:
        """Return the schedule of an order of the rows of `times`."""
        return in_line(self.problem, [*self.first, *(self.jobs[row] for row in order)])

    def order(self, schedule: Schedule) -> list[int]:
        """Return the rows of `times` in the order in which a schedule begins their jobs."""
        chains = self.problem.chains or ()
        return sorted(range(len(self.jobs)), key=lambda row: (schedule.starts[chains[self.jobs[row]][0]], row))


def flow_model(problem: Problem, where: str) -> FlowModel:
    """Return the arrays of a flow shop.

    Raises
    ------
    ConfigError
        When it is none, or its objective is not the makespan.
    """
    stages = _stages(problem)
    if stages is None or problem.objective != "makespan" or problem.blocking:
        got = f"a {problem.kind}" if stages is None else "blocking" if problem.blocking else problem.objective
        raise ConfigError(
            f"{where}: problem must be a flow shop with the objective makespan, got {got}. Try shop/headway."
        )
    chains, tasks = problem.chains or (), problem.tasks
    place = {machine: stage for stage, machine in enumerate(stages)}
    under_way = {
        tasks[task].job: place[tasks[task].modes[0].needs[0][0]]
        for chain in chains
        for task in chain
        if tasks[task].fixed_start is not None
    }
    jobs = tuple(job for job, chain in enumerate(chains) if job not in under_way and chain)
    rows = []
    for job in jobs:
        row = [0] * len(stages)
        for task in chains[job]:
            row[place[tasks[task].modes[0].needs[0][0]]] = tasks[task].modes[0].duration
        rows.append(tuple(row))
    is_plain = not under_way and not problem.downtimes and not any(task.release for task in tasks)
    first = tuple(sorted(under_way, key=lambda job: -under_way[job]))
    return FlowModel(problem, tuple(rows), jobs, first, lower_bound(rows) if is_plain and rows else None)


def _stages(problem: Problem) -> list[int] | None:
    """Return the machines in the order in which all jobs pass them; None when they do not."""
    chains = problem.chains
    if chains is None or problem.kind in ("project", "flexible job shop"):
        return None
    routes = [[problem.tasks[task].modes[0].needs[0][0] for task in chain] for chain in chains]
    before: dict[int, set[int]] = {machine: set() for route in routes for machine in route}
    for route in routes:
        for one, other in pairwise(route):
            before[other].add(one)
    found: list[int] = []
    while before:
        ready = sorted(machine for machine, earlier in before.items() if not earlier)
        if not ready:
            return None
        found.append(ready[0])
        del before[ready[0]]
        for earlier in before.values():
            earlier.discard(ready[0])
    return found


def in_line(problem: Problem, order: Sequence[int]) -> Schedule:
    """Return the schedule in which every machine takes the jobs in one order, each task as soon as that allows.

    Parameters
    ----------
    problem : Problem
        Its jobs are chains of tasks on one machine each; of modes the first is taken.
    order : sequence of int
        Of jobs; those with a task under way must be first, who is farther ahead before who is not.
    """
    starts = [task.fixed_start or 0 for task in problem.tasks]
    free, downs = [0] * problem.num_resources, downtimes(problem)
    for job in order:
        end = 0
        for task in (problem.chains or ())[job]:
            one = problem.tasks[task]
            machine, duration = one.modes[0].needs[0][0], one.modes[0].duration
            if one.fixed_start is None:
                soonest = max(end, free[machine], one.release)
                starts[task] = after_downtimes(downs.get(machine, ()), soonest, duration)
            end = starts[task] + duration
            free[machine] = max(free[machine], end)
    return Schedule(tuple(starts), (0,) * problem.num_tasks)


def lower_bound(times: Sequence[Sequence[int]]) -> int:
    """Return a time before which no flow shop of these durations ends: a machine with the least before and after it."""
    stages = range(len(times[0]))
    jobs = max(sum(row) for row in times)
    loads = [
        min(sum(row[:stage]) for row in times)
        + sum(row[stage] for row in times)
        + min(sum(row[stage + 1 :]) for row in times)
        for stage in stages
    ]
    return max(jobs, *loads)
