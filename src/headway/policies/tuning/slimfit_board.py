"""The visible state of jobs that freeze units, written by a world and by an engine alike."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, cast

from msgspec import Struct

from headway.core.actions import Action, Preempt, Start
from headway.core.nouns import Amounts, Id, Resource, Seconds, Work
from headway.core.view import Board
from headway.policies.tuning.slimfit_nouns import FreezingJob, TrainUnits

BYTES = "bytes"
"""The kind of capacity that is memory."""


class FreezingState(Struct):
    """What a job that has its memory has come to.

    Parameters
    ----------
    job : FreezingJob
        The job.
    device : str
        Where it runs.
    lease_bytes : float
        The memory it has there.
    num_done : int
        Iterations that are over, >= 0.
    active : tuple of int
        The units that the iteration under way trains; empty between two.
    """

    job: FreezingJob
    device: Id
    lease_bytes: float
    num_done: int = 0
    active: tuple[int, ...] = ()


class FreezingView(Protocol):
    """What a policy may see of such jobs."""

    @property
    def now_s(self) -> Seconds:
        """The present, in seconds since the start of the run."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The devices."""

    @property
    def waiting(self) -> Mapping[Id, Work]:
        """Jobs that have no memory yet, in order of arrival."""

    @property
    def jobs(self) -> Mapping[Id, FreezingState]:
        """Jobs that have."""

    def free(self, resource: Id) -> Amounts:
        """What is free on a device."""


class FreezingBoard(Board):
    """Keeps the books of waiting jobs, of leases of memory, and of iterations.

    Parameters
    ----------
    devices : list of Resource
        What jobs run on, with a capacity of ``bytes``.
    """

    def __init__(self, devices: list[Resource]) -> None:
        super().__init__(devices)
        self._jobs: dict[Id, FreezingState] = {}
        self.jobs: Mapping[Id, FreezingState] = MappingProxyType(self._jobs)

    def apply(self, action: Action) -> str | None:
        """Carry out an action on the visible state; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, TrainUnits):
            return self._train(action)
        if isinstance(action, Preempt):
            return "an iteration cannot be taken back"
        if isinstance(action, Start):
            return self._lease(action)
        return super().apply(action)

    def end_iteration(self, job: Id) -> FreezingState:
        """Enter that the iteration under way is over."""
        state = self._jobs[job]
        state.num_done += 1
        state.active = ()
        return state

    def finish(self, work: Id) -> None:
        """Give back the memory of a job and forget it."""
        super().finish(work)
        del self._jobs[work]

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes."""
        jobs = tuple((name, state.num_done, state.active) for name, state in self._jobs.items())
        return hash((super().fingerprint(), jobs))

    def _lease(self, action: Start) -> str | None:
        if len(action.on) != 1:
            return f"a job runs on one device, {len(action.on)} asked for"
        work = self.waiting.get(action.id)
        why = super().apply(action)
        if why is None:
            ((device, amounts),) = action.on.items()
            self._jobs[action.id] = FreezingState(cast(FreezingJob, work), device, amounts.get(BYTES, 0.0))
        return why

    def _train(self, action: TrainUnits) -> str | None:
        state = self._jobs.get(action.job)
        if state is None:
            return "it has no memory on any device"
        if state.active:
            return "an iteration of it is under way"
        places = action.active
        if not places or list(places) != sorted(set(places)) or not 0 <= places[0] <= places[-1] < len(state.job.units):
            return f"units must rise from 0 to {len(state.job.units) - 1}, one at least"
        needed = state.job.peak_bytes(places)
        if needed > state.lease_bytes:
            return f"it has {state.lease_bytes:g} bytes, these units take {needed}"
        state.active = places
        return None
