"""Virtual time of jobs that freeze units: devices with memory, iterations, how weights settle as they are trained."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Protocol

import numpy as np
from msgspec import Struct

from headway.core.actions import Action, Wake
from headway.core.events import Arrived, Event, Finished, Woke
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.tuning.slimfit_board import BYTES, FreezingBoard
from headway.policies.tuning.slimfit_nouns import FreezingJob, TrainUnits, UnitsTrained, WeightUnit


class Dynamics(Protocol):
    """By how much units change when they are trained; no policy knows it in advance."""

    def change(self, unit: int, num_trained: int, iteration: int) -> float:
        """Return the relative change of a unit in an iteration, having been trained so often before."""


class Settling(Struct, frozen=True):
    """Units that change less the more often they are trained, each at its own pace; an assumption, not a measurement.

    The k-th training of a unit changes it by ``scale / (1 + k / pace)`` times noise, and less towards the end of the
    job, as learning rates fall. Scales and paces of units are drawn once; noise depends on the unit and the iteration
    alone, so that every policy meets the same.

    Parameters
    ----------
    num_units : int
        How many there are, >= 1.
    num_iterations : int
        After so many the learning rate is 0, >= 1.
    seed : int
        Of everything that is drawn.
    """

    num_units: int
    num_iterations: int
    seed: int = 0

    def change(self, unit: int, num_trained: int, iteration: int) -> float:
        """Return the relative change of a unit in an iteration, having been trained so often before."""
        nature = np.random.default_rng([self.seed, unit])
        scale, pace = np.exp(nature.normal([-6.0, 2.0], [1.0, 0.7]))
        noise = np.exp(np.random.default_rng([self.seed, unit, iteration]).normal(0.0, 0.1))
        rate = max(1.0 - iteration / self.num_iterations, 0.0)
        return float(scale * rate * noise / (1.0 + num_trained / pace))


class Recorded(Struct, frozen=True):
    """Changes as they were measured in a live run, by (unit, iteration)."""

    changes: Mapping[tuple[int, int], float]

    def change(self, unit: int, num_trained: int, iteration: int) -> float:
        """Return what was measured; raises KeyError when the unit was frozen then."""
        del num_trained  # what was measured tells it all
        return self.changes[unit, iteration]


class HiddenRun(Struct, frozen=True, kw_only=True):
    """A job and what only the world knows of it.

    Parameters
    ----------
    job : FreezingJob
        What policies may know.
    dynamics : Dynamics
        How its units change.
    num_iterations : int or None
        After how many iterations it stops, in [1, that of the job]; None for all of them.
    """

    job: FreezingJob
    dynamics: Dynamics
    num_iterations: int | None = None


class SlimFitWorld:
    """Runs jobs in virtual time.

    A device computes one iteration at a time, in the order in which they were asked for. An iteration takes its
    operations divided by the device's speed; what packing and unpacking of activations costs is left out.

    Parameters
    ----------
    runs : sequence of HiddenRun
        What arrives.
    devices : list of Resource
        With a capacity of ``bytes`` and a trait ``flops_per_s``.
    """

    def __init__(self, runs: Sequence[HiddenRun], devices: list[Resource]) -> None:
        self.view = FreezingBoard(devices)
        self.peak_bytes: dict[Id, int] = {run.job.id: 0 for run in runs}  # most that an iteration of a job took
        self.trained: dict[Id, list[int]] = {run.job.id: [0] * len(run.job.units) for run in runs}
        self._runs = {run.job.id: run for run in runs}
        self._free_at_s = {device.id: 0.0 for device in devices}
        self._order = count()
        self._due: list[tuple[Seconds, int, Event]] = []
        for run in runs:
            self._plan(Arrived(at_s=run.job.arrival_s, work=run.job))

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        if not self._due:
            return None
        self.view.now_s, _, event = heapq.heappop(self._due)
        if isinstance(event, Arrived):
            self.view.add(event.work)
        elif isinstance(event, UnitsTrained):
            self.view.end_iteration(event.job)
        elif isinstance(event, Finished):
            self.view.finish(event.id)
        return event

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Wake):
            self._plan(Woke(at_s=max(action.at_s, self.view.now_s), tag=action.tag))
            return None
        why = self.view.apply(action)
        if why is None and isinstance(action, TrainUnits):
            self._run(action)
        return why

    def _run(self, action: TrainUnits) -> None:
        state, run, trained = self.view.jobs[action.job], self._runs[action.job], self.trained[action.job]
        job, begin_s = run.job, max(self.view.now_s, self._free_at_s[state.device])
        speed = self.view.resources[state.device].traits["flops_per_s"]
        took_s = (job.shared_flops + sum([job.units[unit].flops for unit in action.active])) / speed
        self.peak_bytes[job.id] = max(self.peak_bytes[job.id], job.peak_bytes(action.active))
        changes = tuple([run.dynamics.change(unit, trained[unit], state.num_done) for unit in action.active])
        for unit in action.active:
            trained[unit] += 1
        end_s = self._free_at_s[state.device] = begin_s + took_s
        if state.num_done + 1 == (run.num_iterations or job.num_iterations):
            self._plan(Finished(at_s=end_s, id=job.id))
        else:
            self._plan(UnitsTrained(at_s=end_s, job=job.id, active=action.active, changes=changes, took_s=took_s))

    def _plan(self, event: Event) -> None:
        heapq.heappush(self._due, (event.at_s, next(self._order), event))


def small_world(seed: int, longer: int = 0) -> tuple[SlimFitWorld, None]:
    """Make a world small enough for contract checks: jobs that share devices, one that must freeze more, one too large.

    Parameters
    ----------
    seed : int
        Of the jobs.
    longer : int
        By how many iterations jobs are longer than those of the same seed by default; nothing visible tells.

    Returns
    -------
    (SlimFitWorld, None)
        The world; it has no accounts of its own.
    """
    rng = np.random.default_rng(seed)
    resident = [4000, 4000, 9000, 90_000, 4000]
    runs = [_small_run(f"job-{nth}", nth * 0.5, resident[nth], rng, longer) for nth in range(len(resident))]
    devices = [
        Resource(id="large", kind="device", capacity={BYTES: 14_000.0}, traits={"flops_per_s": 2e3}),
        Resource(id="small", kind="device", capacity={BYTES: 9_000.0}, traits={"flops_per_s": 1e3}),
    ]
    return SlimFitWorld(runs, devices), None


def lying_world(seed: int) -> SlimFitWorld:
    """Make the small world of a seed whose jobs stop later; it looks the same until the first would have stopped."""
    return small_world(seed, longer=5)[0]


def _small_run(name: Id, arrival_s: Seconds, resident_bytes: int, rng: np.random.Generator, longer: int) -> HiddenRun:
    units = tuple(
        WeightUnit(f"layer.{nth}", int(weights), active_bytes=int(kept), frozen_bytes=int(kept) // 10, flops=100.0)
        for nth, (weights, kept) in enumerate(rng.integers(50, 150, size=(24, 2)))
    )
    stops_after = int(rng.integers(8, 16))
    job = FreezingJob(
        id=name,
        kind="fine-tuning",
        arrival_s=arrival_s,
        units=units,
        num_iterations=40,
        resident_bytes=resident_bytes,
        static_bytes=1000,
        shared_flops=1000.0,
    )
    dynamics = Settling(len(units), job.num_iterations, seed=int(rng.integers(2**31)))
    return HiddenRun(job=job, dynamics=dynamics, num_iterations=stops_after + longer)
