"""The visible state of a shop without buffers: where jobs stand, which machines are free, who waits for which.

Jobs and machines are numbered, and their state is kept in plain lists by number, so that an event costs the same
however large the shop is; `isbjssp_features` makes arrays of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

from headway.core.actions import Action, Start
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.shop.isbjssp_nouns import RoutedJob

NOBODY = NOWHERE = -1
SLOT = {"slot": 1.0}
"""What a job occupies of its machine."""


class ShopFloor(Protocol):
    """What a policy may see of such a shop."""

    @property
    def now_s(self) -> Seconds:
        """The present, in seconds since the start of the run."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The machines that are up."""

    @property
    def jobs(self) -> Mapping[int, RoutedJob]:
        """All jobs that have come, by number, those that are done included."""

    operation: list[int]
    where: list[int]
    is_running: list[bool]
    since_s: list[Seconds]
    left_s: list[Seconds]
    holds: list[int]
    is_down: list[bool]
    queues: list[list[int]]

    def open_machines(self) -> Iterator[int]:
        """Yield the machines that are up and empty, and that somebody waits for."""

    def start_of(self, job: int) -> Start:
        """Return the action that brings a job to its next machine."""


class BlockingBoard:
    """Keeps the books of a shop without buffers; executors write it, policies read it.

    Attributes
    ----------
    operation : list of int
        By job: the operation it is in or waits for; the length of its route when it is done.
    where : list of int
        By job: the machine on which it stands, or -1.
    is_running : list of bool
        By job: whether its operation has begun and is not over.
    since_s : list of float
        By job: since when it runs or waits.
    left_s : list of float
        By job: the processing time that its operation had left at `since_s`, or when it was last interrupted.
    holds : list of int
        By machine: the job that stands on it, or -1.
    is_down : list of bool
        By machine: whether it is shut down.
    queues : list of list of int
        By machine: the jobs that wait for it, in order of when they began to.

    Parameters
    ----------
    machines : list of Resource
        Numbered by their place.
    num_jobs : int
        How many jobs there will be, >= 1.
    """

    def __init__(self, machines: list[Resource], num_jobs: int) -> None:
        self.now_s: Seconds = 0.0
        self.machines = tuple(machines)
        self._up = {machine.id: machine for machine in machines}
        self._jobs: dict[int, RoutedJob] = {}
        self.resources: Mapping[Id, Resource] = MappingProxyType(self._up)
        self.jobs: Mapping[int, RoutedJob] = MappingProxyType(self._jobs)
        self.number_of_job: dict[Id, int] = {}
        self.operation = [0] * num_jobs
        self.where = [NOWHERE] * num_jobs
        self.is_running = [False] * num_jobs
        self.since_s: list[Seconds] = [0.0] * num_jobs
        self.left_s: list[Seconds] = [0.0] * num_jobs
        self.holds = [NOBODY] * len(machines)
        self.is_down = [False] * len(machines)
        self.queues: list[list[int]] = [[] for _ in machines]
        self.num_waiting = 0

    def open_machines(self) -> Iterator[int]:
        """Yield the machines that are up and empty, and that somebody waits for."""
        for machine, queue in enumerate(self.queues):
            if queue and self.holds[machine] == NOBODY and not self.is_down[machine]:
                yield machine

    def wants(self, job: int) -> int:
        """Return the machine of the operation that a job is in or waits for."""
        return self._jobs[job].route[self.operation[job]][0]

    def start_of(self, job: int) -> Start:
        """Return the action that brings a job to its next machine."""
        return Start(self._jobs[job].id, {self.machines[self.wants(job)].id: SLOT})

    def why_not(self, action: Action) -> str | None:
        """Return why an action cannot be carried out, or None."""
        if not isinstance(action, Start):
            return f"this shop does not know {type(action).__name__}"
        job = self.number_of_job.get(action.id)
        if job is None or self.is_running[job] or self.operation[job] == len(self._jobs[job].route):
            return "it is not waiting"
        machine = self.wants(job)
        if tuple(action.on) != (self.machines[machine].id,):
            return f"its next machine is {self.machines[machine].id}"
        if self.is_down[machine]:
            return "its next machine is down"
        return None if self.holds[machine] == NOBODY else "its next machine is taken"

    # What executors write -----------------------------------------------------------------------------------------

    def add(self, job: RoutedJob) -> None:
        """Let a job wait for its first machine."""
        self._jobs[job.place] = job
        self.number_of_job[job.id] = job.place
        self.wait(job.place)

    def wait(self, job: int) -> None:
        """Let a job wait for the machine of its operation, standing where it stands."""
        self.since_s[job] = self.now_s
        self.left_s[job] = self._jobs[job].route[self.operation[job]][1]
        self.queues[self.wants(job)].append(job)
        self.num_waiting += 1

    def begin(self, job: int) -> None:
        """Let a waiting job leave where it stands and run on its next machine."""
        machine, old = self.wants(job), self.where[job]
        if old != NOWHERE and self.holds[old] == job:  # in a circle somebody else may be there by now
            self.holds[old] = NOBODY
        self.queues[machine].remove(job)
        self.num_waiting -= 1
        self.holds[machine], self.where[job] = job, machine
        self.is_running[job], self.since_s[job] = True, self.now_s

    def end(self, job: int, *, keeps: bool) -> bool:
        """End the operation of a job; says whether another follows, for which it now waits.

        Parameters
        ----------
        job : int
            Which.
        keeps : bool
            Whether it keeps its machine until it moves on; a job that is done leaves at once.
        """
        self.is_running[job] = False
        self.operation[job] += 1
        goes_on = self.operation[job] < len(self._jobs[job].route)
        if not (keeps and goes_on):
            self.leave(job)
        if goes_on:
            self.wait(job)
        return goes_on

    def leave(self, job: int) -> None:
        """Take a job off its machine."""
        self.holds[self.where[job]] = NOBODY
        self.where[job] = NOWHERE

    def abandon(self, job: int) -> None:
        """Take a waiting job out of the shop for good."""
        self.queues[self.wants(job)].remove(job)
        self.num_waiting -= 1
        if self.where[job] != NOWHERE:
            self.leave(job)
        self.operation[job] = len(self._jobs[job].route)

    def shut(self, machine: int) -> None:
        """Enter that a machine is down; what runs on it is interrupted."""
        self.is_down[machine] = True
        self._up.pop(self.machines[machine].id)
        job = self.holds[machine]
        if job != NOBODY and self.is_running[job]:
            self.left_s[job] -= self.now_s - self.since_s[job]

    def restore(self, machine: int) -> None:
        """Enter that a machine is up again; what was interrupted goes on."""
        self.is_down[machine] = False
        self._up[self.machines[machine].id] = self.machines[machine]
        job = self.holds[machine]
        if job != NOBODY and self.is_running[job]:
            self.since_s[job] = self.now_s

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes."""
        jobs = (*self.operation, *self.where, *self.is_running, *self.since_s, *self.left_s)
        queues = tuple(map(tuple, self.queues))
        return hash((self.now_s, jobs, tuple(self.holds), tuple(self.is_down), queues, tuple(self._jobs)))
