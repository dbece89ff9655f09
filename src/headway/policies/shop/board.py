"""The visible state of a shop, written by a world and by an engine alike, and what policies see of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from headway.core.actions import Action, Preempt, Reject, Start
from headway.core.nouns import Amounts, Id, Resource, Seconds
from headway.policies.shop.nouns import SLOT, ShopJob, task_id
from headway.policies.shop.problem import Downtime, Objective, Problem
from headway.policies.shop.remaining import remaining
from headway.policies.shop.seats_dispatch import Ready
from headway.policies.shop.states import (
    DONE,
    READY,
    RUNNING,
    WAITING,
    JobState,
    MachineState,
    TaskState,
    Way,
    measure,
    mode_of,
    why_not_ready,
)


class ShopView(Protocol):
    """What a policy may see of a shop."""

    @property
    def now_s(self) -> Seconds:
        """The present, in seconds since the start of the run."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The machines that are up."""

    @property
    def machines(self) -> Mapping[Id, MachineState]:
        """All machines, in the order in which tasks count them."""

    @property
    def jobs(self) -> Mapping[Id, JobState]:
        """Jobs that are here and not finished, in order of arrival."""

    @property
    def tasks(self) -> Mapping[Id, TaskState]:
        """All tasks of these jobs, those that are done included."""

    @property
    def running(self) -> Mapping[Id, TaskState]:
        """Tasks that have begun and not ended."""

    @property
    def open(self) -> Mapping[Id, MachineState]:
        """Machines that are up and not full, and have tasks in their queues; "" is for tasks that need no machine."""

    @property
    def turn(self) -> int:
        """Counts the instants at which something happened; policies are called at least once in each."""

    @property
    def fresh(self) -> Sequence[TaskState]:
        """Tasks that became ready at this instant, in that order."""

    @property
    def num_arrived(self) -> int:
        """Counts the jobs that have arrived."""

    @property
    def num_changes(self) -> int:
        """Counts how often a machine went down or came back."""

    @property
    def downtimes(self) -> Sequence[Downtime]:
        """When machines will be away as everybody knows, in seconds since the start of the run."""

    def fits(self, ready: Ready) -> bool:
        """Whether a task that is ready could begin in this mode now."""

    def problem(self) -> Problem:
        """Return what is left to do; time 0 is now, tasks under way are fixed, the names of tasks are their ids."""


class ShopBoard:
    """Keeps the books of machines, of jobs, and of what could begin.

    Parameters
    ----------
    machines : sequence of Resource
        In the order in which tasks count them, each with a capacity of ``slot``. A trait ``repair_s`` says how long a
        repair is expected to take.
    downtimes : sequence of Downtime
        When machines will be away as everybody knows, in seconds since the start of the run.
    objective : str
        What plans are to make small; see `Problem`.
    """

    def __init__(
        self,
        machines: Sequence[Resource],
        *,
        downtimes: Sequence[Downtime] = (),
        objective: Objective = "makespan",
    ) -> None:
        self.now_s: Seconds = 0.0
        self.turn = 0
        self.num_arrived = 0
        self.num_changes = 0
        self.fresh: list[TaskState] = []
        self.downtimes: tuple[Downtime, ...] = tuple(downtimes)
        self.objective: Objective = objective
        self._machines = {machine.id: MachineState(machine, place) for place, machine in enumerate(machines)}
        self._by_place = list(self._machines.values())
        self._nowhere = MachineState(Resource(id="", kind="nowhere", capacity={}), -1)
        self._ways: dict[tuple[tuple[int, int], ...], Way] = {}
        self._alone: list[Way | None] = [None] * len(machines)
        self._resources = {machine.id: machine for machine in machines}
        self._jobs: dict[Id, JobState] = {}
        self._tasks: dict[Id, TaskState] = {}
        self._running: dict[Id, TaskState] = {}
        self._open: dict[Id, MachineState] = {}
        self._num_ready = 0
        self.machines: Mapping[Id, MachineState] = MappingProxyType(self._machines)
        self.resources: Mapping[Id, Resource] = MappingProxyType(self._resources)
        self.jobs: Mapping[Id, JobState] = MappingProxyType(self._jobs)
        self.tasks: Mapping[Id, TaskState] = MappingProxyType(self._tasks)
        self.running: Mapping[Id, TaskState] = MappingProxyType(self._running)
        self.open: Mapping[Id, MachineState] = MappingProxyType(self._open)

    # What policies ask --------------------------------------------------------------------------------------------

    def fits(self, ready: Ready) -> bool:
        """Whether a task that is ready could begin in this mode now."""
        state = self._tasks.get(ready.task)
        if state is None or state.status != READY:
            return False
        return self._lacks(state.ways[ready.mode]) is None

    def problem(self) -> Problem:
        """Return what is left to do; time 0 is now, tasks under way are fixed, the names of tasks are their ids."""
        return remaining(self.now_s, self._jobs, self._by_place, self.downtimes, self.objective)

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes; contract checks compare it."""
        machines = tuple((m.id, m.is_up, m.free, tuple(m.queue), tuple(m.running)) for m in self._by_place)
        tasks = tuple((state.id, state.status, state.mode, state.planned_s) for state in self._tasks.values())
        return hash((self.now_s, self.turn, len(self.fresh), tuple(self._jobs), machines, tasks, tuple(self._open)))

    # What executors tell ------------------------------------------------------------------------------------------

    def go_to(self, now_s: Seconds) -> None:
        """Begin a new instant; what is fresh is from now on fresh in this one."""
        self.now_s = now_s
        self.turn += 1
        self.fresh = []

    def add(self, job: ShopJob) -> list[TaskState]:
        """Let a job in; returns those of its tasks that could begin but for their release, which is still to come."""
        self.num_arrived += 1
        state = self._jobs[job.id] = JobState(job)
        for place, task in enumerate(job.tasks):
            modes = task.modes
            ways = [self._way(modes[0].needs)] if len(modes) == 1 else [self._way(mode.needs) for mode in modes]
            release_s = job.arrival_s + task.release
            one = TaskState(task_id(job.id, place), state, place, task, ways, release_s)
            state.tasks.append(one)
            self._tasks[one.id] = one
        measure(state)
        for one in state.tasks:
            if not one.num_before and one.release_s <= self.now_s:
                self._make_ready(one)
        return [one for one in state.tasks if one.release_s > self.now_s]

    def release(self, task: Id) -> None:
        """Enter that the time before which a task could not begin has come."""
        state = self._tasks.get(task)
        if state is not None and state.status == WAITING and not state.num_before:
            self._make_ready(state)

    def apply(self, action: Action) -> str | None:
        """Carry out an action on the visible state; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Start):
            return self.start(action)
        if isinstance(action, Reject):
            return self._reject(action.id)
        if isinstance(action, Preempt):
            return self._preempt(action)
        return f"a shop does not know {type(action).__name__}"

    def start(self, action: Start) -> str | None:
        """Let a task begin; returns why not, having changed nothing, when it cannot."""
        state = self._tasks.get(action.id)
        if state is None or state.status != READY:
            return why_not_ready(state)
        mode = mode_of(state, action)
        if mode < 0:
            return f"no mode of it runs on {', '.join(action.on) or 'nothing'} with these amounts"
        way = state.ways[mode]
        if (why := self._lacks(way)) is not None:
            return why
        self._take_from_queues(state)
        for machine, amount in way.uses:
            machine.free -= amount
            machine.running[state.id] = state
            if not machine.free:
                self._open.pop(machine.id, None)
        state.status, state.mode, state.way = RUNNING, mode, way
        state.start_s = self.now_s
        state.planned_s = self.now_s + state.task.modes[mode].duration
        state.num_down = 0
        state.job.num_running += 1
        self._running[state.id] = state
        return None

    def finish(self, state: TaskState) -> bool:
        """Enter that a running task is complete; says whether its job is, too."""
        self._take_off(state)
        state.status = DONE
        job = state.job
        job.num_left -= 1
        tasks = job.tasks
        for place in job.followers[state.place]:
            follower = tasks[place]
            follower.num_before -= 1
            if not follower.num_before and follower.status == WAITING and follower.release_s <= self.now_s:
                self._make_ready(follower)
        if job.num_left:
            return False
        self._forget(job)
        return True

    def stop(self, state: TaskState) -> None:
        """Take a running task off its machines; it is ready again, and must be done from its start."""
        self._take_off(state)
        self._make_ready(state)

    def take_down(self, machine: Id) -> list[TaskState]:
        """Enter that a machine is away; returns the tasks that stand still from now on."""
        state = self._machines[machine]
        state.is_up = False
        self.num_changes += 1
        state.down_since_s = self.now_s
        del self._resources[machine]
        self._open.pop(machine, None)
        for task in state.running.values():
            task.num_down += 1
            if task.num_down == 1:
                task.paused_s = self.now_s
        return [task for task in state.running.values() if task.num_down == 1]

    def bring_up(self, machine: Id) -> list[TaskState]:
        """Enter that a machine is back; returns the tasks that go on."""
        state = self._machines[machine]
        state.is_up = True
        self.num_changes += 1
        self._resources[machine] = state.resource
        self._look(state)
        for task in state.running.values():
            task.num_down -= 1
            if not task.num_down:
                task.planned_s += self.now_s - task.paused_s
        return [task for task in state.running.values() if not task.num_down]

    # The books ----------------------------------------------------------------------------------------------------

    def _way(self, needs: tuple[tuple[int, int], ...]) -> Way:
        if len(needs) == 1 and needs[0][1] == 1:  # most need one machine, and numbers are found sooner than tuples
            place = needs[0][0]
            alone = self._alone[place]
            if alone is None:
                machine = self._by_place[place]
                alone = self._alone[place] = Way(((machine, 1),), {machine.id: {SLOT: 1.0}}, self._nowhere)
            return alone
        way = self._ways.get(needs)
        if way is None:
            uses = tuple((self._by_place[place], amount) for place, amount in needs if amount)
            on: dict[Id, Amounts] = {self._by_place[place].id: {SLOT: float(amount)} for place, amount in needs}
            way = self._ways[needs] = Way(uses, on, self._nowhere)
        return way

    def _make_ready(self, state: TaskState) -> None:
        state.status = READY
        self.fresh.append(state)
        number = self._num_ready
        self._num_ready = number + 1
        if len(state.ways) == 1:
            home = state.way.home
            option = self._option(state, 0, number)
            state.options = [option]
            home.queue[state.id] = option
            if len(home.queue) == 1:
                self._look(home)
            return
        state.options = [self._option(state, mode, number) for mode in range(len(state.ways))]
        for option, way in zip(state.options, state.ways, strict=True):
            home = way.home
            home.queue[state.id if state.id not in home.queue else f"{state.id}/{option.mode}"] = option
            self._look(home)

    def _option(self, state: TaskState, mode: int, number: int) -> Ready:
        job, way = state.job, state.ways[mode]
        work = job.job
        return Ready(
            task=state.id,
            job=work.id,
            mode=mode,
            machine=way.machine,
            duration_s=float(state.task.modes[mode].duration),
            work_left_s=state.work_left_s,
            num_left=state.num_left,
            job_work_s=job.work_s,
            job_num_tasks=len(job.tasks),
            ready_since_s=self.now_s,
            release_s=work.arrival_s,
            due_s=math.inf if work.due_s is None else work.due_s,
            weight=work.weight,
            number=number,
            on=way.on,
        )

    def _look(self, machine: MachineState) -> None:
        """Enter whether something could begin on a machine."""
        if machine.queue and machine.is_up and (machine.free > 0 or machine.place < 0):
            self._open[machine.id] = machine
        else:
            self._open.pop(machine.id, None)

    def _lacks(self, way: Way) -> str | None:
        for machine, amount in way.uses:
            if not machine.is_up:
                return f"{machine.id} is down"
            if machine.free < amount:
                return f"{machine.id} has {machine.free} of {machine.capacity} free, {amount} asked for"
        return None

    def _take_from_queues(self, state: TaskState) -> None:
        if len(state.ways) == 1:
            home = state.way.home
            home.queue.pop(state.id, None)
            if not home.queue:
                self._open.pop(home.id, None)
            return
        for mode, way in enumerate(state.ways):
            home = way.home
            if home.queue.pop(state.id, None) is None:
                home.queue.pop(f"{state.id}/{mode}", None)
            if not home.queue:
                self._open.pop(home.id, None)

    def _take_off(self, state: TaskState) -> None:
        del self._running[state.id]
        state.job.num_running -= 1
        for machine, amount in state.way.uses:
            machine.free += amount
            del machine.running[state.id]
            self._look(machine)

    def _preempt(self, action: Preempt) -> str | None:
        state = self._running.get(action.id)
        if action.how != "requeue":
            return f"a shop cannot {action.how}"
        if state is None:
            return "it is not running"
        self.stop(state)
        return None

    def _reject(self, job: Id) -> str | None:
        state = self._jobs.get(job)
        if state is None or state.num_running or state.num_left < len(state.tasks):
            return "it is not here" if state is None else "it has begun"
        for task in state.tasks:
            self._take_from_queues(task)
        self._forget(state)
        return None

    def _forget(self, job: JobState) -> None:
        del self._jobs[job.job.id]
        for task in job.tasks:
            del self._tasks[task.id]
        job.tasks = []  # they know their job: without this circle they are gone at once
