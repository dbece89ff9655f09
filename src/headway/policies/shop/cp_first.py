"""A first schedule in no time, for the search to begin with: tasks with the longest way to go first, as they fit.

Large constraint programs spend their first minute without a schedule. This one takes O(log) per task where tasks need
one resource in one mode, and looks through all that wait otherwise.
"""

from __future__ import annotations

import heapq
from collections import defaultdict

from headway.policies.shop.cp_windows import Windows, shortest, waiting
from headway.policies.shop.flow_model import in_line
from headway.policies.shop.generate import after_downtimes, downtimes
from headway.policies.shop.problem import Mode, Problem
from headway.policies.shop.schedule import Schedule, faults, objective

SLOWEST = 2.0
"""A task waits for a faster mode rather than run in one that takes so many times as long."""


def first_schedule(problem: Problem, found: Windows) -> Schedule | None:
    """Return a schedule without needless waiting; None where its plain way does not lead to one."""
    if problem.blocking:
        made = [_one_by_one(problem)]
    elif problem.permutation:
        made = [in_line(problem, order) for order in _orders(problem, found)]
    else:
        made = [_Dispatch(problem, found, urgency).run() for urgency in _urgencies(problem, found)]
    sound = [schedule for schedule in made if schedule is not None and not faults(problem, schedule)]
    return min(sound, key=lambda schedule: objective(problem, schedule), default=None)


def _orders(problem: Problem, found: Windows) -> list[list[int]]:
    """Return orders of jobs to try: by work, by slope, by due time.

    The slope is that of D. S. Palmer, "Sequencing jobs through a multi-stage process in the minimum total time", 1965:
    first come jobs whose later tasks are the longer ones.
    """
    chains = problem.chains
    if chains is None:
        return []
    lengths = [[problem.tasks[number].modes[0].duration for number in chain] for chain in chains]
    slopes = [sum((2 * place - len(row) + 1) * one for place, one in enumerate(row)) for row in lengths]
    due = [found.horizon if job.due is None else job.due for job in problem.jobs]
    under_way = [-sum(problem.tasks[number].fixed_start is not None for number in chain) for chain in chains]
    work = [-sum(row) for row in lengths]
    keys = (work, [-slope for slope in slopes], due)
    return [sorted(range(len(chains)), key=[*zip(under_way, key, strict=True)].__getitem__) for key in keys]


def _one_by_one(problem: Problem) -> Schedule | None:
    """Return the schedule that begins a job when the one before it has ended, the soonest due first."""
    if problem.chains is None:
        return None
    starts, modes, now = [0] * problem.num_tasks, [0] * problem.num_tasks, 0
    due = [problem.jobs[job].due for job in range(len(problem.jobs))]
    for job in sorted(range(len(due)), key=lambda one: (due[one] is None, due[one] or 0)):
        for number in problem.chains[job]:
            task = problem.tasks[number]
            place = min(range(len(task.modes)), key=lambda one: task.modes[one].duration)
            starts[number], modes[number] = _after_downtimes(problem, task.modes[place], max(now, task.release)), place
            now = starts[number] + task.modes[place].duration
    return Schedule(tuple(starts), tuple(modes))


def _after_downtimes(problem: Problem, mode: Mode, begin: int) -> int:
    """Return when a mode can run without a downtime of what it needs."""
    spans = downtimes(problem) if problem.downtimes else {}
    used = sorted(span for resource, amount in mode.needs if amount for span in spans.get(resource, ()))
    return after_downtimes(used, begin, mode.duration)


class _Dispatch:
    """Goes from one end of a task to the next, and starts what fits."""

    def __init__(self, problem: Problem, found: Windows, urgency: list[float]) -> None:
        self._problem = problem
        self._urgency = urgency
        self._following = waiting(problem)
        self._left = [len(task.after) if task.fixed_start is None else 0 for task in problem.tasks]
        self._free = list(problem.capacity)
        self._events: list[tuple[int, int, int]] = []  # (time, 0 end / 1 ready / 2 look again, task)
        self._queues: dict[int, list[tuple[float, int]]] = defaultdict(list)  # of one resource; those of -1 need others
        self._starts = [-1] * problem.num_tasks
        self._modes = [0] * problem.num_tasks

    def run(self) -> Schedule | None:
        for number, task in enumerate(self._problem.tasks):
            if task.fixed_start is not None:
                self._start(number, 0, task.fixed_start)
            elif not task.after:
                heapq.heappush(self._events, (task.release, 1, number))
        for down in self._problem.downtimes:
            heapq.heappush(self._events, (down.end, 2, down.resource))
        while self._events:
            now = self._events[0][0]
            touched: set[int] = {-1}
            while self._events and self._events[0][0] == now:
                touched |= self._take(*heapq.heappop(self._events))
            for resource in sorted(touched):
                self._look(resource, now)
        return Schedule(tuple(self._starts), tuple(self._modes)) if min(self._starts) >= 0 else None

    def _take(self, now: int, kind: int, number: int) -> set[int]:
        """Let an event happen, and return the resources to look at."""
        if kind == 2:
            return {number}
        if kind == 1:
            queue = self._queue_of(number)
            heapq.heappush(self._queues[queue], (self._urgency[number], number))
            return {queue}
        for resource, amount in self._mode(number).needs:
            self._free[resource] += amount
        for other in self._following[number]:
            self._left[other] -= 1
            if not self._left[other]:
                heapq.heappush(self._events, (max(now, self._problem.tasks[other].release), 1, other))
        return {resource for resource, _ in self._mode(number).needs}

    def _mode(self, number: int) -> Mode:
        return self._problem.tasks[number].modes[self._modes[number]]

    def _queue_of(self, number: int) -> int:
        modes = self._problem.tasks[number].modes
        return modes[0].needs[0][0] if len(modes) == 1 and len(modes[0].needs) == 1 else -1

    def _look(self, resource: int, now: int) -> None:
        """Start what fits of those that wait for a resource; behind one that does not, smaller ones may pass."""
        queue, passed = self._queues[resource], []
        while queue and (resource < 0 or self._free[resource] > 0):
            urgency, number = heapq.heappop(queue)
            mode = self._fitting(number, now)
            if mode is None:
                passed.append((urgency, number))
            else:
                self._start(number, mode, now)
        for one in passed:
            heapq.heappush(queue, one)

    def _fitting(self, number: int, now: int) -> int | None:
        task = self._problem.tasks[number]
        fits = [place for place, mode in enumerate(task.modes) if self._fits(mode, now)]
        best = min(fits, key=lambda place: task.modes[place].duration, default=None)
        if best is None or task.modes[best].duration > SLOWEST * shortest(task):
            return None
        return best

    def _fits(self, mode: Mode, now: int) -> bool:
        if any(self._free[resource] < amount for resource, amount in mode.needs):
            return False
        used = {resource for resource, amount in mode.needs if amount} if self._problem.downtimes else set()
        end = now + mode.duration
        return all(
            down.resource not in used or end <= down.start or down.end <= now for down in self._problem.downtimes
        )

    def _start(self, number: int, mode: int, now: int) -> None:
        self._starts[number], self._modes[number] = now, mode
        chosen = self._mode(number)
        for resource, amount in chosen.needs:
            self._free[resource] -= amount
        heapq.heappush(self._events, (now + chosen.duration, 0, number))


def _urgencies(problem: Problem, found: Windows) -> list[list[float]]:
    """Return orders to try, smaller is sooner: by the latest start; where due times count, by them and by weight."""
    lengths = [shortest(task) for task in problem.tasks]
    if problem.objective == "makespan":
        return [[float(end - length) for end, length in zip(found.latest, lengths, strict=True)]]
    jobs = [problem.jobs[task.job] for task in problem.tasks]
    ahead = [length + tail for length, tail in zip(lengths, found.after, strict=True)]
    late = [found.horizon if job.due is None else job.due for job in jobs]
    by_due = [float(due - work) for due, work in zip(late, ahead, strict=True)]
    weighs = problem.objective == "weighted_tardiness"
    by_weight = [work / max(job.weight if weighs else 1.0, 1e-9) for job, work in zip(jobs, ahead, strict=True)]
    return [by_due, by_weight]
