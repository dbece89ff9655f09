"""Virtual time of a fleet of aircraft: delays, passengers, closed routes and repairs, which no policy foresees."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count

from msgspec import Struct

from headway.core.actions import Action, Wake
from headway.core.events import Arrived, Event, Finished, Woke
from headway.core.nouns import Seconds
from headway.policies.shop.uam_board import GROUNDED, IDLE, REPAIR_S, FleetBoard
from headway.policies.shop.uam_nouns import City, Floats, Fly, Grounded, Ints, Ready, RouteChanged, Shift

LANDS, IS_READY, IS_OVER = 0, 1, 2
"""What may happen to an aircraft."""
Closure = tuple[Seconds, Seconds, int, int]
"""From when until when which route is closed."""


class Hidden(Struct, frozen=True, kw_only=True):
    """A day as it will be, which only the world knows.

    Parameters
    ----------
    passengers : array [slots, vertiports, vertiports]
        Who comes.
    fares : array [slots, vertiports, vertiports]
        What they pay.
    delays : array [aircraft, flights]
        By how much each take-off is later or sooner than usual, as a factor of the vertiport's mean, >= 0; an aircraft
        that flies oftener begins anew.
    repairs_s : array [aircraft, flights]
        Seconds of repair after each landing; mostly 0.
    closures : tuple of (from, until, vertiport, vertiport)
        Of routes.
    """

    passengers: Ints
    fares: Floats
    delays: Floats
    repairs_s: Floats
    closures: tuple[Closure, ...] = ()


class FleetWorld:
    """Plays a fleet's day in virtual time.

    A pad and a charger are free as soon as an aircraft is sent; passengers pay and leave the queue at that moment.
    Routes that close do so for whoever has not been sent. A shift ends at the first time that its aircraft is on the
    ground and ready after its deadline.

    Parameters
    ----------
    city : City
        Where.
    shifts : sequence of Shift
        The fleet.
    hidden : Hidden
        The day.
    """

    def __init__(self, city: City, shifts: Sequence[Shift], hidden: Hidden) -> None:
        self.view = FleetBoard(city, len(shifts))
        self.shifts = tuple(shifts)
        self.hidden = hidden
        self._slot = -1
        self._num_flown = [0] * len(shifts)
        self._num_closures: dict[tuple[int, int], int] = {}
        self._order = count()
        self._due: list[tuple[Seconds, int, Event | tuple[int, int]]] = []
        for shift in shifts:
            self._plan(shift.arrival_s, Arrived(at_s=shift.arrival_s, work=shift))
        for begin_s, end_s, one, other in hidden.closures:
            names = city.vertiports[one].id, city.vertiports[other].id
            for at_s, is_open in ((begin_s, False), (end_s, True)):
                if at_s < city.end_s:
                    self._plan(at_s, RouteChanged(at_s=at_s, one=names[0], other=names[1], is_open=is_open))

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        while self._due:
            at_s, _, what = heapq.heappop(self._due)
            self._begin_slots(at_s)
            self.view.now_s = at_s
            event = self._of_craft(*what) if isinstance(what, tuple) else self._told(what)
            if event is not None:
                return event
        return None

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        view = self.view
        if isinstance(action, Wake):
            at_s = max(action.at_s, view.now_s)
            self._plan(at_s, Woke(at_s=at_s, tag=action.tag))
            return None
        craft = view.craft.get(action.subject, -1)
        origin = int(view.at[craft])
        why = view.apply(action)
        if why is None and isinstance(action, Fly):
            flown = self._num_flown[craft]
            delays = self.hidden.delays
            delay_s = float(view.city.delay_s[origin] * delays[craft, flown % delays.shape[1]])
            self._plan(view.now_s + delay_s + float(view.city.flight_s[origin, view.at[craft]]), (craft, LANDS))
        elif why is None:
            self._plan(float(view.ready_s[craft]), (craft, IS_READY))
        return why

    def numbers(self) -> dict[str, float]:
        """What the day came to so far."""
        view = self.view
        num = max(view.num_flights, 1)
        return {
            "profit": view.profit,
            "num_flights": float(view.num_flights),
            "empty_frac": view.num_empty / num,
            "carried_per_flight": view.num_carried / num,
            "served_frac": view.num_carried / max(view.num_carried + view.num_lost, 1),
        }

    def _told(self, event: Event) -> Event | None:
        if isinstance(event, Arrived):
            assert isinstance(event.work, Shift)
            craft = self.view.add(event.work)
            self._plan(float(self.view.end_s[craft]), (craft, IS_OVER))
        elif isinstance(event, RouteChanged):
            return event if self._change(event) else None
        return event

    def _change(self, event: RouteChanged) -> bool:
        """Close or open a route; says whether that made a difference, as closures may overlap."""
        view, place = self.view, self.view.city.place
        one, other = sorted((place[event.one], place[event.other]))
        before = self._num_closures.get((one, other), 0)
        after = self._num_closures[one, other] = before + (-1 if event.is_open else 1)
        view.is_closed[one, other] = view.is_closed[other, one] = after > 0
        return (before > 0) != (after > 0)

    def _of_craft(self, craft: int, what: int) -> Event | None:
        view, now_s = self.view, self.view.now_s
        if what == LANDS:
            return self._land(craft)
        if now_s >= view.end_s[craft]:
            if what == IS_OVER and view.state[craft] != IDLE:
                return None  # it ends when it is ready
            view.end_shift(craft)
            return Finished(at_s=now_s, id=view.ids[craft])
        view.state[craft] = IDLE
        return Ready(at_s=now_s, id=view.ids[craft])

    def _land(self, craft: int) -> Event | None:
        view, flown = self.view, self._num_flown[craft]
        self._num_flown[craft] += 1
        view.park(craft)
        repairs = self.hidden.repairs_s
        repair_s = float(repairs[craft, flown % repairs.shape[1]])
        self._plan(view.now_s + view.city.model.turnaround_s + repair_s, (craft, IS_READY))
        if not repair_s:
            view.ready_s[craft] = view.now_s + view.city.model.turnaround_s
            return None
        view.state[craft], view.ready_s[craft] = GROUNDED, view.now_s + REPAIR_S
        return Grounded(at_s=view.now_s, id=view.ids[craft])

    def _begin_slots(self, at_s: Seconds) -> None:
        """Let passengers of all slots come that have begun by then."""
        while self._slot < self.view.city.slot_at(at_s):
            self._slot += 1
            self.view.next_slot(self.hidden.passengers[self._slot], self.hidden.fares[self._slot])

    def _plan(self, at_s: Seconds, what: Event | tuple[int, int]) -> None:
        heapq.heappush(self._due, (at_s, next(self._order), what))
