"""The time-expanded network of a city: vertiports at times, and what it is worth to go from one to the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headway.core.nouns import Seconds
from headway.policies.shop.uam_board import FleetView
from headway.policies.shop.uam_nouns import City, Floats, Ints

CENTS = 100
PATIENT_FRACS = (1.0, 0.7, 0.4)
"""Which share of those who wait now still does, one and two steps later; none after that."""
NUM_KINDS = 3
"""Of flights: full ones, one that is not, empty ones."""


class Arcs(NamedTuple):
    """Arrays by arc."""

    tails: Ints
    heads: Ints
    capacities: Ints
    costs: Ints


class TimeNetwork:
    """Lays out nodes and arcs once for a city; capacities and costs follow the present.

    Parameters
    ----------
    city : City
        With its forecasts.
    num_slots : int
        Steps to look ahead, >= 2.
    slot_s : float
        Of each step, > 0.
    """

    def __init__(self, city: City, num_slots: int, slot_s: Seconds) -> None:
        self.city, self.num_slots, self.slot_s = city, num_slots, slot_s
        num, model = city.num_vertiports, city.model
        charging_s = city.energy_kwh / max(model.charge_kw, 1e-9) * 3600.0
        took_s = city.delay_s[:, None] + city.flight_s + model.turnaround_s + charging_s
        self._steps = np.maximum(np.rint(took_s / slot_s), 1).astype(np.int64)
        self._coming = np.cumsum(np.concatenate([np.zeros((1, num, num)), city.demand]), axis=0)
        at, origin, to = np.indices((num_slots, num, num))
        self._pairs = np.flatnonzero((origin != to).ravel())
        flying = (at * num + origin).ravel()[self._pairs]
        landing = (np.minimum(at + self._steps, num_slots) * num + to).ravel()[self._pairs]
        staying = np.arange(num_slots * num)
        ends = num_slots * num + np.arange(num)
        sink = np.full(num, (num_slots + 1) * num)
        # flights that are full, one that is not, empty ones; then stays; then the end of the horizon
        self._tails = np.concatenate([np.tile(flying, NUM_KINDS), staying, ends])
        self._heads = np.concatenate([np.tile(landing, NUM_KINDS), staying + num, sink])

    def worth_now(self, view: FleetView) -> Floats:
        """What a flight with those who wait now is worth, [from, to]."""
        return np.asarray(np.minimum(view.waiting, self.city.model.num_seats) * view.fares - self.city.cost)

    def supplies(self, ready: Ints) -> Ints:
        """What each node brings in: aircraft where and when they are ready; all end in the last node."""
        return np.concatenate([ready.ravel(), [-ready.sum()]])

    def arcs(self, view: FleetView, ready: Ints) -> Arcs:
        """Price all arcs as things stand; `ready` counts aircraft, [steps, vertiports]."""
        seats, cost = self.city.model.num_seats, self.city.cost
        people = self._people(view, ready)
        fares = np.broadcast_to(view.fares, people.shape)
        full = np.floor(people / seats)
        rest = people - full * seats
        open_now = self._is_open(view)
        full_capacity = np.where(open_now, full, 0.0)
        rest_capacity = np.where(open_now & (rest > 0), 1.0, 0.0)
        empty_capacity = np.where(open_now, len(view.state), 0.0)
        capacities = [full_capacity, rest_capacity, empty_capacity]
        values = [fares * seats - cost, fares * rest - cost, np.broadcast_to(-cost, people.shape)]
        many = len(view.state)
        num = self.city.num_vertiports
        chosen = [one.ravel()[self._pairs] for one in capacities]
        prices = [-CENTS * one.ravel()[self._pairs] for one in values]
        stays = np.full(self.num_slots * num + num, many)
        return Arcs(
            self._tails,
            self._heads,
            np.concatenate([*chosen, stays]).astype(np.int64),
            np.rint(np.concatenate([*prices, np.zeros(len(stays))])).astype(np.int64),
        )

    def first(self, flows: Ints) -> Floats:
        """Return what flows out of the present, [from, to]."""
        num = self.city.num_vertiports
        found: Floats = np.zeros(self.num_slots * num * num)
        for part in np.split(flows[: (NUM_KINDS) * len(self._pairs)], NUM_KINDS):
            found[self._pairs] += part
        return found[: num * num].reshape(num, num)

    def _people(self, view: FleetView, ready: Ints) -> Floats:
        """Passengers whom a flight at each step would find, [steps, from, to]."""
        begin = view.now_s + self.slot_s * np.arange(self.num_slots)
        slot = np.clip(begin / self.city.slot_s, 0, len(self._coming) - 1)
        low = slot.astype(np.int64)
        high = np.minimum(low + 1, len(self._coming) - 1)
        share = (slot - low)[:, None, None]
        total = self._coming[low] * (1 - share) + self._coming[high] * share
        found = np.concatenate([np.zeros_like(total[:1]), np.diff(total, axis=0)])
        for origin in range(self.city.num_vertiports):
            # who waits now is served by the first aircraft that is there, if it comes in time
            soonest = int(np.argmax(ready[:, origin] > 0)) if ready[:, origin].any() else 2
            if soonest < min(len(PATIENT_FRACS), self.num_slots):
                found[soonest, origin] += np.floor(view.waiting[origin] * PATIENT_FRACS[soonest])
        return np.asarray(found)

    def _is_open(self, view: FleetView) -> Floats:
        """Whether a route may be flown, [steps, from, to]: closed ones for two steps, to full vertiports not now."""
        is_open = np.ones((self.num_slots, *view.is_closed.shape), bool)
        is_open[:2] &= ~view.is_closed
        is_open[0] &= view.inbound < self.city.pads
        return is_open
