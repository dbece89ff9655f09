"""A plan of nano-batches: which operations of a layer run side by side on one device, and how much of it each gets.

The batch of a step is cut into nano-batches, and every operation of a layer into one per nano-batch. Operations of
different nano-batches do not wait for each other, so one that computes, one that reads memory and one that uses the
network can run at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from msgspec import Struct

from headway.core.nouns import Seconds

Kind = Literal["compute", "memory", "network"]
Points = tuple[tuple[float, float], ...]

LEVELS = tuple(round(0.1 * tenths, 1) for tenths in range(1, 11))
"""The shares of the device that an operation can be given."""

SPEEDS: Mapping[Kind, Points] = {
    "compute": ((0.0, 0.0), (1.0, 1.0)),
    "memory": ((0.0, 0.0), (0.2, 0.3), (0.4, 0.8), (1.0, 1.0)),
    "network": ((0.0, 0.0), (0.1, 0.3), (0.2, 0.5), (0.8, 0.9), (1.0, 1.0)),
}
"""How fast an operation is (1: alone) that is given a share of the device (what a product beside it loses).

By definition a product that keeps a share R is R as fast. That attention of decodes with 0.2 is 0.3 as fast is
published, as is that the best plan gives it about 0.4; the other points are assumptions with that property. Between
points it is a straight line.
"""


class Operation(Struct, frozen=True):
    """One operation of one nano-batch in one layer.

    Parameters
    ----------
    name : str
        Of the operation, such as ``"up"``.
    kind : {"compute", "memory", "network"}
        What it is bound by.
    alone_s : float
        How long it takes with the whole device, in seconds, >= 0.
    """

    name: str
    kind: Kind
    alone_s: Seconds


Chain = Sequence[Operation]
"""The operations of one nano-batch in one layer, each of which needs the one before it."""


class NanoPlan(Struct, frozen=True, kw_only=True):
    """How the operations of a layer are laid out in a frame that is repeated layer after layer.

    Nano-batches may be apart by part of a layer: then a frame has the end of one layer of a nano-batch, and the
    beginning of its next. Operations are numbered through, those of the first nano-batch first.

    Parameters
    ----------
    fracs : tuple of float
        The share of the batch that each nano-batch has; they sum to 1.
    shares : tuple of float
        The share of the device that each operation is given, in (0, 1].
    order : tuple of int
        The operations, each behind all that it waits for.
    waits : tuple of tuple of int
        For each operation, those that must have ended before it begins.
    cuts : tuple of int
        Which operation of each nano-batch is the first in a frame.
    """

    fracs: tuple[float, ...]
    shares: tuple[float, ...]
    order: tuple[int, ...]
    waits: tuple[tuple[int, ...], ...]
    cuts: tuple[int, ...]

    def frame_s(self, chains: Sequence[Chain], speeds: Mapping[Kind, Points] = SPEEDS) -> Seconds:
        """Return how long one frame takes with the operations of these nano-batches."""
        flat = [one for chain in chains for one in chain]
        slow = [one.alone_s / speed(one.kind, share, speeds) for one, share in zip(flat, self.shares, strict=True)]
        return max(self.ends_s(slow))

    def ends_s(self, durations_s: Sequence[Seconds]) -> list[Seconds]:
        """Return when each operation ends that takes so long."""
        ends = [0.0] * len(durations_s)
        for index in self.order:
            begin = 0.0
            for other in self.waits[index]:
                if ends[other] > begin:
                    begin = ends[other]
            ends[index] = begin + durations_s[index]
        return ends

    def num_frames(self, num_layers: int) -> int:
        """Return how many frames so many layers take: one more where nano-batches are apart."""
        return num_layers + any(self.cuts)


def speed(kind: Kind, share: float, speeds: Mapping[Kind, Points] = SPEEDS) -> float:
    """Return how fast an operation is, relative to alone, with a share of the device."""
    shares, found = zip(*speeds[kind], strict=True)
    return float(np.interp(share, shares, found))


def one_after_the_other(chain: Chain) -> NanoPlan:
    """Return the plan that has one nano-batch and runs its operations in their order, each with the whole device."""
    num = len(chain)
    return NanoPlan(
        fracs=(1.0,),
        shares=(1.0,) * num,
        order=tuple(range(num)),
        waits=tuple((index - 1,) if index else () for index in range(num)),
        cuts=(0,),
    )


def least_s(chains: Sequence[Chain]) -> Seconds:
    """Return what no plan can beat: the operations of the busiest kind, each with the whole device."""
    totals: dict[str, float] = {}
    for one in (one for chain in chains for one in chain):
        totals[one.kind] = totals.get(one.kind, 0.0) + one.alone_s
    return max(totals.values(), default=0.0)
