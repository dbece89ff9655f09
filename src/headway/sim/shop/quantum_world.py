"""Virtual time of a quantum network: demands come, the network follows its table, users leave when they have enough."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count

import msgspec
import numpy as np

from headway.core.actions import Action, Wake
from headway.core.events import Arrived, Event, Finished, Woke
from headway.core.nouns import Id, Seconds
from headway.policies.shop.quantum_board import EMPTY, QuantumBoard
from headway.policies.shop.quantum_nouns import Demand, Serve, Table
from headway.policies.shop.quantum_tables import Quality, quality
from headway.sim.shop.quantum_networks import Network, all_pairs, demands, h_shape

SLACK = 1e-9
"""Slots are counted from seconds, which are floats."""


class HiddenDemand(msgspec.Struct, frozen=True):
    """A demand and what only the world knows: how many pairs its users stay for, >= 1, and the luck of their runs."""

    demand: Demand
    num_pairs: int
    seed: int = 0


class _Course(msgspec.Struct):
    """A demand that is served: how many runs it still takes, counted from the beginning of the table in force."""

    num_left: int
    ends_at: int = -1  # in slots; what was told of an end before holds no more when this differs


class QuantumWorld:
    """Follows tables in virtual time.

    A table is in force from the end of the round of the one before. Every run of a protocol makes its pair, unless
    distillation is left to luck; whether it succeeds then depends on the demand and the number of the run alone, so
    that every policy meets the same luck.

    Parameters
    ----------
    arrivals : sequence of HiddenDemand
        What comes.
    network : Network
        Nodes and fibres.
    lucky : bool
        Whether distillation always works; True.
    slot_s : float
        How long a slot is, in seconds, > 0; 0.01.

    Attributes
    ----------
    num_pairs : dict of str to int
        By demand that is over, the pairs that it got.
    took_s : dict of str to float
        By demand that is over, the time from its arrival to its end.
    qualities : list of (Quality, float)
        Of every table that was in force, and for how many seconds.
    """

    def __init__(
        self, arrivals: Sequence[HiddenDemand], network: Network, *, lucky: bool = True, slot_s: Seconds = 0.01
    ) -> None:
        self.view = QuantumBoard(network.nodes(), network.fibres, slot_s)
        self.lucky = lucky
        self.num_pairs: dict[Id, int] = {}
        self.took_s: dict[Id, Seconds] = {}
        self.qualities: list[tuple[Quality, Seconds]] = []
        self._hidden = {one.demand.id: one for one in arrivals}
        self._courses: dict[Id, _Course] = {}
        self._table, self._begins_at = EMPTY, 0
        self._order = count()
        self._due: list[tuple[Seconds, int, Event]] = []
        for one in arrivals:
            self._plan(Arrived(at_s=one.demand.arrival_s, work=one.demand))

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        while self._due:
            at_s, _, event = heapq.heappop(self._due)
            if isinstance(event, Finished):
                course = self._courses.get(event.id)
                if course is None or course.ends_at * self.view.slot_s != at_s:
                    continue  # the table has changed since this was foreseen
                self._leave(event, at_s)
            self.view.now_s = at_s
            if isinstance(event, Arrived) and isinstance(event.work, Demand):
                self.view.add(event.work)
            return event
        return None

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Wake):
            self._plan(Woke(at_s=max(action.at_s, self.view.now_s), tag=action.tag))
            return None
        why = self.view.apply(action)
        if why is None and isinstance(action, Serve):
            self._courses[action.id] = _Course(self._num_runs(action))
            self._follow(action.table)
        return why

    def _follow(self, table: Table) -> None:
        """Let a table be in force from the end of this round, or of the one that has not begun, on."""
        slot, old, begins = self.view.now_s / self.view.slot_s - SLACK, self._table, self._begins_at
        rounds = max(int(-((begins - slot) // old.num_slots)), 0)  # rounds that are begun are finished
        switch = begins + rounds * old.num_slots if old.entries else int(np.ceil(slot))
        if rounds and old.entries:
            self.qualities.append((quality(old, self.view.slot_s), rounds * old.num_slots * self.view.slot_s))
        for name, course in self._courses.items():
            if not 0 <= course.ends_at <= switch:  # it is still there then
                done = rounds * (old.num_slots // old.periods[name]) if name in old.periods else 0
                course.num_left -= done
                course.ends_at = switch + _end_of(table, name, course.num_left)
                self._plan(Finished(at_s=course.ends_at * self.view.slot_s, id=name))
        self._table, self._begins_at = table, switch

    def _leave(self, event: Finished, at_s: Seconds) -> None:
        del self._courses[event.id]
        self.view.finish(event.id)
        self.num_pairs[event.id] = self._hidden[event.id].num_pairs
        self.took_s[event.id] = at_s - self._hidden[event.id].demand.arrival_s

    def _num_runs(self, action: Serve) -> int:
        """How many runs it takes until the users of a demand have enough."""
        hidden, success = self._hidden[action.id], action.table.protocols[action.id].success
        if self.lucky or success >= 1:
            return hidden.num_pairs
        failures = np.random.default_rng(hidden.seed).negative_binomial(hidden.num_pairs, success)
        return hidden.num_pairs + int(failures)

    def _plan(self, event: Event) -> None:
        heapq.heappush(self._due, (event.at_s, next(self._order), event))


def _end_of(table: Table, demand: Id, nth: int) -> int:
    """Return the slot, from the beginning of a table, after the `nth` run of a demand, counted from 1."""
    ends = sorted(entry.end for entry in table.entries if entry.demand == demand)
    rounds, place = divmod(nth - 1, len(ends))
    return rounds * table.num_slots + ends[place]


def small_world(seed: int, longer: int = 0) -> tuple[QuantumWorld, None]:
    """Make a world small enough for contract checks: demands that share a bar, come and go, one that nobody can keep.

    Parameters
    ----------
    seed : int
        Of the demands.
    longer : int
        How many pairs more users stay for, against the same seed by default; nothing visible tells.

    Returns
    -------
    (QuantumWorld, None)
        The world; it has no accounts of its own.
    """
    rng, network = np.random.default_rng(seed), h_shape()
    arrivals = list[HiddenDemand]()
    for nth, demand in enumerate(demands(all_pairs(network.users), rng, 0.6, (0.4, 0.8, 1.6), 8)):
        wants = msgspec.structs.replace(demand, arrival_s=nth * 2.0, fidelity=0.999 if nth == 4 else demand.fidelity)
        stays = int(rng.integers(5, 20)) + longer
        arrivals.append(HiddenDemand(wants, stays, int(rng.integers(2**31))))
    return QuantumWorld(arrivals, network, lucky=False), None


def lying_world(seed: int) -> QuantumWorld:
    """Make the small world of a seed whose users stay longer; it looks the same until the first would have left."""
    return small_world(seed, longer=40)[0]
