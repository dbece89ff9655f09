"""Demands as periodic tasks: one run in every period, and all runs of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct

from headway.core.nouns import Id, Seconds
from headway.policies.shop.quantum_nouns import Demand, Protocol

NETWORK = "network"
"""The resource that stands for everything where only one thing may happen at a time."""


class Run(Struct, frozen=True):
    """One run of a demand's protocol, to be done between its release and its deadline."""

    demand: Id
    release: int
    deadline: int
    protocol: Protocol

    @property
    def num_slots(self) -> int:
        """How long it takes without a break."""
        return self.protocol.num_slots


def by_deadline(run: Run) -> tuple[int, int, Id]:
    """The order of earliest deadline first."""
    return run.deadline, run.release, run.demand


def period_of(demand: Demand, slot_s: Seconds) -> int:
    """Return in how many slots there must be a pair: the largest power of two that keeps the rate.

    Powers of two divide each other, so that a table is no longer than the longest period.
    """
    return 1 << max(math.floor(math.log2(1 / (demand.rate_per_s * slot_s)) + 1e-12), 0)


def all_runs(protocols: Mapping[Id, Protocol], periods: Mapping[Id, int]) -> tuple[list[Run], int]:
    """Return every run of a table, and how many slots the table has."""
    num_slots = max(periods.values())
    runs = [
        Run(demand, release, release + periods[demand], protocol)
        for demand, protocol in protocols.items()
        for release in range(0, num_slots, periods[demand])
    ]
    return runs, num_slots
