"""The visible state of a fleet: where its aircraft are, who waits where, which routes are closed, its profit."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headway.core.actions import Action
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.shop.uam_nouns import City, Floats, Fly, Ints, Shift, Stay

AWAY, IDLE, BUSY, GROUNDED = 0, 1, 2, 3
"""States of an aircraft: not on duty, waiting for a decision, flying or staying, under repair."""
REPAIR_S = 3600.0
"""How long a repair takes, as far as anybody knows."""


class FleetView(Protocol):
    """What a policy may see. Aircraft and vertiports are meant by their places in `ids` and in `city.vertiports`."""

    @property
    def now_s(self) -> Seconds:
        """The present, in seconds since the start of the run."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The vertiports."""

    @property
    def city(self) -> City:
        """What never changes, forecasts included."""

    @property
    def ids(self) -> list[Id]:
        """Of the aircraft that have been on duty, in order of arrival."""

    @property
    def state(self) -> Ints:
        """By aircraft, `IDLE`, `BUSY`, `GROUNDED` or `AWAY`."""

    @property
    def at(self) -> Ints:
        """By aircraft, the vertiport where it is, or to which it flies."""

    @property
    def ready_s(self) -> Floats:
        """By aircraft, when it is expected to be ready."""

    @property
    def end_s(self) -> Floats:
        """By aircraft, when its shift is over."""

    @property
    def inbound(self) -> Ints:
        """By vertiport, how many aircraft are there or on their way."""

    @property
    def waiting(self) -> Ints:
        """Passengers that wait, [from, to]."""

    @property
    def fares(self) -> Floats:
        """What each would pay now, [from, to]."""

    @property
    def is_closed(self) -> NDArray[np.bool_]:
        """Which routes are closed, [from, to]."""

    @property
    def profit(self) -> float:
        """Fares less costs, so far."""

    def battery_kwh(self, craft: int) -> float:
        """What is in the battery of an aircraft now."""

    def batteries_kwh(self) -> Floats:
        """What is in the battery of each aircraft now."""

    def legal(self, craft: int) -> NDArray[np.bool_]:
        """By vertiport, whether an aircraft that is idle may go there; where it is, it may stay."""


class FleetBoard:
    """Keeps the books of a fleet; the world writes it, policies read it.

    Parameters
    ----------
    city : City
        Where it flies.
    num_crafts : int
        Aircraft at most, >= 1.
    """

    def __init__(self, city: City, num_crafts: int) -> None:
        num = city.num_vertiports
        self.city = city
        self.now_s: Seconds = 0.0
        self.ids: list[Id] = []
        self.craft: dict[Id, int] = {}
        self.state = np.zeros(num_crafts, np.int64)
        self.at = np.zeros(num_crafts, np.int64)
        self.ready_s = np.zeros(num_crafts)
        self.end_s = np.zeros(num_crafts)
        self.inbound = np.zeros(num, np.int64)
        self.waiting = np.zeros((num, num), np.int64)
        self.fares = city.fares[0].copy()
        self.is_closed = np.zeros((num, num), bool)
        self.profit = 0.0
        self.num_flights = self.num_empty = self.num_carried = self.num_lost = 0
        self._by_age = [np.zeros((num, num), np.int64) for _ in range(city.patience_slots)]  # the youngest first
        self._battery = np.zeros(num_crafts)
        self._since_s = np.zeros(num_crafts)
        self._has_charger = np.zeros(num_crafts, bool)
        self._free_chargers = city.chargers.copy()
        self._parked: list[list[int]] = [[] for _ in range(num)]
        self.resources: Mapping[Id, Resource] = MappingProxyType(
            {one.id: Resource(id=one.id, kind="vertiport", capacity={"pads": one.num_pads}) for one in city.vertiports}
        )

    # What policies may ask -------------------------------------------------------------------------------------------

    def battery_kwh(self, craft: int) -> float:
        """What is in the battery of an aircraft now."""
        held = float(self._battery[craft])
        if self._has_charger[craft]:
            model = self.city.model
            held += (self.now_s - float(self._since_s[craft])) * model.charge_kw / 3600.0
            return min(held, model.battery_kwh)
        return held

    def batteries_kwh(self) -> Floats:
        """What is in the battery of each aircraft now."""
        model = self.city.model
        charged = (self.now_s - self._since_s) * (model.charge_kw / 3600.0)
        return np.minimum(self._battery + np.where(self._has_charger, charged, 0.0), model.battery_kwh)

    def legal(self, craft: int) -> NDArray[np.bool_]:
        """By vertiport, whether an aircraft that is idle may go there; where it is, it may stay."""
        city, here = self.city, int(self.at[craft])
        left = self.battery_kwh(craft) - city.energy_kwh[here]
        found: NDArray[np.bool_] = (left >= city.model.reserve_frac * city.model.battery_kwh) & (
            self.inbound < city.pads
        )
        found &= ~self.is_closed[here]
        found[here] = True
        return found

    # What the world enters -------------------------------------------------------------------------------------------

    def add(self, shift: Shift) -> int:
        """Let an aircraft begin its shift; returns its place."""
        craft, city = len(self.ids), self.city
        self.ids.append(shift.id)
        self.craft[shift.id] = craft
        self.at[craft] = place = city.place[shift.at]
        self.state[craft] = IDLE
        self.ready_s[craft] = self.now_s
        self.end_s[craft] = shift.deadline_s if shift.deadline_s is not None else city.end_s
        self._battery[craft] = shift.battery_frac * city.model.battery_kwh
        self.inbound[place] += 1
        self.park(craft)
        return craft

    def park(self, craft: int) -> None:
        """Enter that an aircraft is on the ground where it was going; it takes a charger if one is free."""
        place = int(self.at[craft])
        self._parked[place].append(craft)
        self._since_s[craft] = self.now_s
        if self._free_chargers[place]:
            self._free_chargers[place] -= 1
            self._has_charger[craft] = True

    def next_slot(self, arrivals: Ints, fares: Floats) -> None:
        """Enter who comes in a new slot, that those who have waited longest go otherwise, and new fares."""
        lost = self._by_age.pop()
        self._by_age.insert(0, arrivals.copy())
        self.waiting += arrivals - lost
        self.num_lost += int(lost.sum())
        self.fares[:] = fares

    def end_shift(self, craft: int) -> None:
        """Take an aircraft off duty; it keeps its pad."""
        self.state[craft] = AWAY

    def apply(self, action: Action) -> str | None:
        """Carry out an action on the visible state; returns why not, having changed nothing, when it cannot be."""
        if not isinstance(action, Fly | Stay):
            return f"a fleet does not know {type(action).__name__}"
        craft = self.craft.get(action.id)
        if craft is None or self.state[craft] != IDLE:
            return "it does not wait for a decision"
        if isinstance(action, Stay):
            self.state[craft] = BUSY
            self.ready_s[craft] = self.now_s + self.city.model.stay_s
            return None
        return self._fly(craft, action.to)

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes."""
        arrays = (self.state, self.at, self.ready_s, self.inbound, self.waiting, self.fares, self.is_closed)
        hidden = (self._battery, self._since_s, self._has_charger, self._free_chargers)
        return hash((self.now_s, self.profit, len(self.ids), *[one.tobytes() for one in (*arrays, *hidden)]))

    def _fly(self, craft: int, name: Id) -> str | None:
        city, here = self.city, int(self.at[craft])
        to = city.place.get(name)
        if to is None or to == here:
            return f"{name!r} is no other vertiport"
        if not self.legal(craft)[to]:
            return f"{name} is full, too far or closed"
        self._battery[craft] = self.battery_kwh(craft) - city.energy_kwh[here, to]
        self._leave(craft, here)
        self._board(here, to)
        self.at[craft], self.state[craft] = to, BUSY
        self.inbound[to] += 1
        took_s = city.delay_s[here] + city.flight_s[here, to] + city.model.turnaround_s
        self.ready_s[craft] = self.now_s + took_s
        return None

    def _leave(self, craft: int, here: int) -> None:
        self.inbound[here] -= 1
        parked = self._parked[here]
        parked.remove(craft)
        if not self._has_charger[craft]:
            return
        self._has_charger[craft] = False
        heir = next((one for one in parked if not self._has_charger[one]), None)
        if heir is None:
            self._free_chargers[here] += 1
        else:  # whoever has waited longest for a charger
            self._has_charger[heir], self._since_s[heir] = True, self.now_s

    def _board(self, here: int, to: int) -> None:
        """Let passengers board, those who have waited longest first, and enter fares and costs."""
        num = min(int(self.waiting[here, to]), self.city.model.num_seats)
        self.waiting[here, to] -= num
        left = num
        for group in reversed(self._by_age):
            taken = min(int(group[here, to]), left)
            group[here, to] -= taken
            left -= taken
        self.profit += num * float(self.fares[here, to]) - float(self.city.cost[here, to])
        self.num_flights += 1
        self.num_empty += num == 0
        self.num_carried += num
