"""What is left to do in a shop, as a problem for planners: time 0 is now, and what is under way is fixed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from headway.core.nouns import Id, Seconds
from headway.policies.shop.problem import Downtime, Job, Mode, Objective, Problem, Task
from headway.policies.shop.states import DONE, JobState, MachineState, TaskState

TINY = 1e-9


def remaining(
    now_s: Seconds,
    jobs: Mapping[Id, JobState],
    machines: Sequence[MachineState],
    known: Iterable[Downtime],
    objective: Objective,
) -> Problem:
    """Return what is left to do, given when machines will be away as everybody knows.

    Times are whole units of the instance and are rounded up. A task under way starts at 0 and takes what is expected
    to be left of it, one unit when it is late. A task that stands still on a machine that is down starts when the
    machine is expected back; one that a known downtime will hold up takes that much longer.
    """
    downtimes = Downtimes(now_s, machines, list(known))
    index: dict[Id, int] = {}
    tasks: list[Task] = []
    states = [task for job in jobs.values() for task in job.tasks if task.status != DONE]
    for number, state in enumerate(states):
        index[state.id] = number
    numbers = {id_: number for number, id_ in enumerate(jobs)}
    for state in states:
        job = numbers[state.job.job.id]
        tasks.append(_under_way(state, job, now_s, downtimes) if state.is_running else _open(state, job, now_s, index))
    return Problem(
        name="what is left",
        tasks=tuple(tasks),
        jobs=tuple(_job(job, now_s) for job in jobs.values()),
        capacity=tuple(machine.capacity for machine in machines),
        objective=objective,
        downtimes=downtimes.left(),
        resources=tuple(machine.id for machine in machines),
    )


def _open(state: TaskState, job: int, now_s: Seconds, index: dict[Id, int]) -> Task:
    after = [state.job.tasks[place] for place in state.task.after]
    return Task(
        modes=state.task.modes,
        job=job,
        after=tuple(index[before.id] for before in after if before.status != DONE),
        release=_up(max(state.release_s - now_s, 0.0)),
        name=state.id,
    )


def _under_way(state: TaskState, job: int, now_s: Seconds, downtimes: Downtimes) -> Task:
    begin = downtimes.back_at(state)
    left_s = state.planned_s - (state.paused_s if state.num_down else now_s)
    left = _up(left_s) if left_s > TINY else 1
    if not state.task.modes[state.mode].duration:
        left = 0
    left = downtimes.hold_up(state, begin, left)
    mode = Mode(duration=left, needs=state.task.modes[state.mode].needs)
    return Task(modes=(mode,), job=job, fixed_start=begin, name=state.id)


def _job(state: JobState, now_s: Seconds) -> Job:
    job = state.job
    return Job(
        due=None if job.due_s is None else math.floor(job.due_s - now_s + TINY),
        deadline=None if job.deadline_s is None else math.floor(job.deadline_s - now_s + TINY),
        weight=job.weight,
        name=job.id,
    )


def _up(seconds: Seconds) -> int:
    return math.ceil(seconds - TINY)


class Downtimes:
    """When machines will be away: those that are known, and those that are down until somebody has mended them.

    Parameters
    ----------
    now_s : float
        The present: time 0.
    machines : sequence of MachineState
        In their order.
    known : list of Downtime
        As everybody knows, in seconds since the start of the run.
    """

    def __init__(self, now_s: Seconds, machines: Sequence[MachineState], known: list[Downtime]) -> None:
        self._spans: list[list[tuple[int, int]]] = [[] for _ in machines]
        for one in known:
            if one.start > now_s:
                self._spans[one.resource].append((math.floor(one.start - now_s + TINY), _up(one.end - now_s)))
        self._back = [_back_at(now_s, machine, known) for machine in machines]
        for place, back in enumerate(self._back):
            if back:
                self._spans[place].append((0, back))

    def back_at(self, state: TaskState) -> int:
        """Return when all machines of a task under way are expected to be up; others of them stay taken until then."""
        back = max((self._back[machine.place] for machine, _ in state.way.uses), default=0)
        for machine, _ in state.way.uses:
            if back and not self._back[machine.place]:
                self._spans[machine.place].append((0, back))
        return back

    def hold_up(self, state: TaskState, begin: int, left: int) -> int:
        """Return how long a task under way takes with the known downtimes that come in between.

        They are taken out: the machine is taken by the task all the while.
        """
        for machine, _ in state.way.uses:
            for start, end in sorted(self._spans[machine.place]):
                if begin <= start < begin + left:
                    left += end - start
                    self._spans[machine.place].remove((start, end))
        return left

    def left(self) -> tuple[Downtime, ...]:
        """Return all that stand."""
        return tuple(Downtime(place, *span) for place, spans in enumerate(self._spans) for span in sorted(spans))


def _back_at(now_s: Seconds, machine: MachineState, known: list[Downtime]) -> int:
    """Return in how many units a machine that is down is expected back, at least one; 0 when it is up."""
    if machine.is_up:
        return 0
    ends = [one.end for one in known if one.resource == machine.place and one.start <= now_s < one.end]
    back_s = max([*ends, machine.down_since_s + machine.resource.traits.get("repair_s", 0.0)])
    return max(_up(back_s - now_s), 1)
