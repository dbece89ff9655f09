"""What a shop's board keeps of each machine, job and task."""

from __future__ import annotations

import functools
from typing import Final

from headway.core.actions import Start
from headway.core.nouns import Amounts, Id, Resource, Seconds
from headway.policies.shop.nouns import SLOT, ShopJob
from headway.policies.shop.problem import Task
from headway.policies.shop.seats_dispatch import Ready

WAITING: Final = 0
READY: Final = 1
RUNNING: Final = 2
DONE: Final = 3


class MachineState:
    """A machine, or a cumulative resource.

    `queue` holds what could begin here in the order in which it became ready, by task; further modes of a task on the
    same machine are in it under the task's id, a slash and the mode.

    Parameters
    ----------
    resource : Resource
        With a capacity of ``slot``.
    place : int
        Its number among the shop's machines, >= 0.
    """

    __slots__ = ("capacity", "down_since_s", "free", "id", "is_up", "place", "queue", "resource", "running")

    def __init__(self, resource: Resource, place: int) -> None:
        self.resource = resource
        self.id: Id = resource.id
        self.place = place
        self.capacity = int(resource.capacity.get(SLOT, 0.0))
        self.free = self.capacity
        self.is_up = True
        self.down_since_s: Seconds = 0.0
        self.queue: dict[Id, Ready] = {}
        self.running: dict[Id, TaskState] = {}


class Way:
    """What one mode of a task holds while it runs: the same for all tasks that need the same.

    Parameters
    ----------
    uses : tuple of (MachineState, int)
        How many slots of which machine.
    on : dict
        The same, as `Start` says it.
    nowhere : MachineState
        In whose queue it is when it needs no machine.
    """

    __slots__ = ("home", "machine", "on", "uses")

    def __init__(
        self, uses: tuple[tuple[MachineState, int], ...], on: dict[Id, Amounts], nowhere: MachineState
    ) -> None:
        self.uses = uses
        self.on = on
        self.home = uses[0][0] if uses else nowhere  # in whose queue it is
        self.machine: Id = self.home.id


class TaskState:
    """A task of a job that is here.

    While it runs, `planned_s` is when it is expected to end if nothing stops it any more: set at its start, and moved
    when a machine comes back.
    """

    __slots__ = (
        "id", "job", "mode", "num_before", "num_down", "num_left", "options", "paused_s", "planned_s", "place",
        "release_s", "start_s", "status", "task", "way", "ways", "work_left_s",
    )  # fmt: skip

    def __init__(self, id: Id, job: JobState, place: int, task: Task, ways: list[Way], release_s: Seconds) -> None:
        self.id = id
        self.job = job
        self.place = place
        self.task = task
        self.ways = ways
        self.release_s = release_s
        self.num_before = len(task.after)
        self.status = WAITING
        self.work_left_s: Seconds = 0.0
        self.num_left = 1
        self.options: list[Ready] = []
        self.mode = 0
        self.way = ways[0]
        self.start_s: Seconds = 0.0
        self.planned_s: Seconds = 0.0
        self.num_down = 0  # of the machines that it holds
        self.paused_s: Seconds = 0.0  # since when it has stood still, while one is down

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended; it may stand still on a machine that is down."""
        return self.status == RUNNING

    @property
    def machines(self) -> tuple[Id, ...]:
        """The machines that it holds while it runs."""
        return tuple([machine.id for machine, _ in self.way.uses])


class JobState:
    """A job that is here.

    Parameters
    ----------
    job : ShopJob
        The job.
    """

    __slots__ = ("followers", "job", "num_left", "num_running", "tasks", "work_s")

    def __init__(self, job: ShopJob) -> None:
        self.job = job
        self.tasks: list[TaskState] = []
        self.followers: list[list[int]] = []  # by place, who comes directly after
        self.num_left = len(job.tasks)
        self.num_running = 0
        self.work_s: Seconds = 0.0


def mean_duration_s(task: Task) -> float:
    """Return the expected duration of a task whose mode is open."""
    modes = task.modes
    if len(modes) == 1:
        return float(modes[0].duration)
    return sum(mode.duration for mode in modes) / len(modes)


def measure(state: JobState) -> None:
    """Enter into every task of a job who follows it, and how much work it and all that must come after it are."""
    tasks = state.job.tasks
    durations = [mean_duration_s(task) for task in tasks]
    state.work_s = sum(durations)
    if all([task.after == ((place - 1,) if place else ()) for place, task in enumerate(tasks)]):
        _measure_chain(state, durations)
    else:
        state.followers = [[] for _ in tasks]
        for place, task in enumerate(tasks):
            for before in task.after:
                state.followers[before].append(place)
        _measure_network(state, durations)


@functools.cache
def _chain(num: int) -> list[list[int]]:
    """Return who follows whom in a chain of so many; shared by all jobs of that length, and not to be changed."""
    return [[place] for place in range(1, num)] + [[]]


def _measure_chain(state: JobState, durations: list[float]) -> None:
    num, work_s = len(durations), 0.0
    state.followers = _chain(num)
    for place in range(num - 1, -1, -1):
        work_s += durations[place]
        task = state.tasks[place]
        task.work_left_s = work_s
        task.num_left = num - place


def _measure_network(state: JobState, durations: list[float]) -> None:
    reached: dict[int, int] = {}  # by place, the bits of all that must come after it, itself included
    for place in _backwards(state):
        bits = 1 << place
        for follower in state.followers[place]:
            bits |= reached[follower]
        reached[place] = bits
        after = [nth for nth in range(len(durations)) if bits >> nth & 1]
        state.tasks[place].work_left_s = sum([durations[nth] for nth in after])
        state.tasks[place].num_left = len(after)


def _backwards(state: JobState) -> list[int]:
    """Return the places of a job's tasks, each after all that follow it."""
    num_after = [len(after) for after in state.followers]
    order = [place for place, num in enumerate(num_after) if not num]
    for place in order:
        for before in state.job.tasks[place].after:
            num_after[before] -= 1
            if not num_after[before]:
                order.append(before)
    return order


def mode_of(state: TaskState, action: Start) -> int:
    """Find the mode that an action asks for, the shortest of several alike; -1 when there is none."""
    if len(state.ways) == 1 and state.way.on is action.on:  # as it stands in `Ready`
        return 0
    found = [mode for mode, way in enumerate(state.ways) if way.on == action.on]
    return min(found, key=lambda mode: state.task.modes[mode].duration, default=-1)


def why_not_ready(state: TaskState | None) -> str:
    """Say why a task cannot be started, given that it is not ready."""
    if state is None:
        return "it is not here"
    if state.status == RUNNING:
        return "it is running"
    if state.status == DONE:
        return "it is done"
    return f"it waits for {state.num_before} others" if state.num_before else "it is not released yet"
