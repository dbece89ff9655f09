"""Words of layer freezing: units of weights, a job that may freeze some of them, one iteration with the others."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

from msgspec import Struct

from headway.core.actions import Action
from headway.core.events import Event
from headway.core.nouns import Id, Seconds, Work

SLACK = 1e-9
"""Shares are floats: 0.29 of 100 units are 29 of them."""


class WeightUnit(Struct, frozen=True, gc=False):
    """What is frozen or trained as one: one tensor of weights.

    Parameters
    ----------
    name : str
        Of the weight, such as ``"encoder.layer.0.attention.self.query.weight"``.
    num_weights : int
        How many numbers it has, >= 1.
    active_bytes : int
        Activations kept from forward to backward when it is trained, >= 0.
    frozen_bytes : int
        The same when it is frozen, >= 0; a frozen LayerNorm keeps part of its output.
    reads : str
        What `active_bytes` hold. Units that read the same keep it once; empty for one's own.
    flops : float
        Of its gradient in one iteration, >= 0.
    """

    name: str
    num_weights: int
    active_bytes: int
    frozen_bytes: int = 0
    reads: str = ""
    flops: float = 0.0


class FreezingJob(Work, frozen=True, kw_only=True):
    """A fine-tuning job whose units can be frozen for an iteration; what a scheduler may know of it.

    Its memory is a function of how much is frozen, so that a scheduler can trade the one for the other.

    Parameters
    ----------
    units : tuple of WeightUnit
        All of them, in the order in which the model computes them.
    num_iterations : int
        The most iterations it takes, >= 1. It may stop earlier, and nobody knows when.
    resident_bytes : int
        Weights and optimiser state, frozen or not, >= 0.
    static_bytes : int
        Activations kept whatever is frozen, as they are kept (compressed), >= 0.
    freeze_frac : float or None
        The share of units to freeze in each iteration, in [0, 1), as its user wants it; None leaves it to the policy.
    shared_flops : float
        Of an iteration without gradients of weights, >= 0.
    gradient_bytes : int
        Per trained weight, >= 0; 4.
    """

    units: tuple[WeightUnit, ...]
    num_iterations: int
    resident_bytes: int = 0
    static_bytes: int = 0
    freeze_frac: float | None = None
    shared_flops: float = 0.0
    gradient_bytes: int = 4

    def num_frozen(self, freeze_frac: float) -> int:
        """How many units that share of them is; at least one is left."""
        return min(math.floor(freeze_frac * len(self.units) + SLACK), len(self.units) - 1)

    def peak_bytes(self, active: Iterable[int]) -> int:
        """Memory of an iteration that trains these units."""
        trained, shared = set(active), set[str]()
        total = self.resident_bytes + self.static_bytes
        for place, unit in enumerate(self.units):
            if place not in trained:
                total += unit.frozen_bytes
                continue
            total += self.gradient_bytes * unit.num_weights
            total += 0 if unit.reads in shared else unit.active_bytes
            shared |= {unit.reads} if unit.reads else set()
        return total

    def most_bytes(self, num_active: int) -> int:
        """Memory that suffices whichever so many units are trained; one more never lowers it."""
        frozen = self.resident_bytes + self.static_bytes + sum([unit.frozen_bytes for unit in self.units])
        costs = [self.gradient_bytes * u.num_weights + u.active_bytes - u.frozen_bytes for u in self.units]
        return frozen + sum(heapq.nlargest(num_active, [max(cost, 0) for cost in costs]))

    def bytes_at(self, freeze_frac: float) -> int:
        """Memory that suffices at a freezing rate, in [0, 1)."""
        return self.most_bytes(len(self.units) - self.num_frozen(freeze_frac))


class TrainUnits(Action, frozen=True, gc=False):
    """Run the next iteration of a job, training these units and freezing the others.

    Parameters
    ----------
    job : str
        A job that has its memory, and no iteration under way.
    active : tuple of int
        Places of the units to train, rising; at least one.
    """

    job: Id
    active: tuple[int, ...]

    @property
    def subject(self) -> Id:
        """The job's id."""
        return self.job


class UnitsTrained(Event, frozen=True, gc=False, kw_only=True):
    """An iteration is over, and others may follow; the last of a job ends with `Finished` instead.

    Parameters
    ----------
    job : str
        Of the job.
    active : tuple of int
        Which units were trained.
    changes : tuple of float
        By how much each of them changed: the mean over its weights of ``|new - old| / |old|``, >= 0.
    took_s : float
        How long the iteration took, in seconds.
    """

    job: Id
    active: tuple[int, ...]
    changes: tuple[float, ...]
    took_s: Seconds
