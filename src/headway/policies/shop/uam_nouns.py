"""Words of urban air mobility: vertiports, aircraft, the city that they serve, flights and stays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Id, Seconds, Work

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Vertiport(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where aircraft land, park, charge and take off.

    Parameters
    ----------
    id : str
        Unique in its city.
    x_miles, y_miles : float
        Where it is.
    num_pads : int
        Aircraft that may be here or on their way here, >= 1; 10.
    num_chargers : int
        Aircraft that charge at a time, >= 0; 6. An aircraft keeps its charger until it leaves.
    delay_s : float
        Mean seconds from a decision to take-off, >= 0; 60.
    """

    id: Id
    x_miles: float
    y_miles: float
    num_pads: int = 10
    num_chargers: int = 6
    delay_s: Seconds = 60.0


class Model(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The type of aircraft that a fleet has, and what it costs; speed, seats and battery are the specification's.

    Parameters
    ----------
    num_seats : int
        For passengers, >= 1; 4.
    miles_per_h : float
        Cruise speed, > 0; 150.
    climb_s : float
        Seconds that a flight takes beyond cruise, >= 0; 120.
    turnaround_s : float
        From landing until it may leave again, >= 0; 180.
    battery_kwh : float
        > 0; 110.
    kwh_per_mile, kwh_per_flight : float
        What cruise, and take-off and landing, take out of it, >= 0; 1.5 and 4.
    charge_kw : float
        While it has a charger, >= 0; 240.
    reserve_frac : float
        What must be left after landing, in [0, 1); 0.15.
    cost_per_mile, cost_per_flight, cost_per_kwh : float
        In dollars, >= 0; 3, 20 and 0.2.
    stay_s : float
        How long a stay lasts before the next decision, > 0; 300.
    """

    num_seats: int = 4
    miles_per_h: float = 150.0
    climb_s: Seconds = 120.0
    turnaround_s: Seconds = 180.0
    battery_kwh: float = 110.0
    kwh_per_mile: float = 1.5
    kwh_per_flight: float = 4.0
    charge_kw: float = 240.0
    reserve_frac: float = 0.15
    cost_per_mile: float = 3.0
    cost_per_flight: float = 20.0
    cost_per_kwh: float = 0.2
    stay_s: Seconds = 300.0


@dataclass(frozen=True, eq=False)
class City:
    """Vertiports, the aircraft between them, and the demand that is expected there.

    Parameters
    ----------
    vertiports : tuple of Vertiport
        Two or more.
    model : Model
        Of all aircraft.
    demand : array [slots, vertiports, vertiports]
        Passengers expected to come in each slot, from and to, >= 0.
    fares : array [slots, vertiports, vertiports]
        Dollars that each is expected to pay, >= 0.
    slot_s : float
        Seconds of a slot, > 0; 300.
    patience_slots : int
        How many slots passengers wait before they go otherwise, >= 1; 5.
    """

    vertiports: tuple[Vertiport, ...]
    model: Model
    demand: Floats
    fares: Floats
    slot_s: Seconds = 300.0
    patience_slots: int = 5
    place: dict[Id, int] = field(init=False)
    miles: Floats = field(init=False)
    flight_s: Floats = field(init=False)
    energy_kwh: Floats = field(init=False)
    cost: Floats = field(init=False)
    pads: Ints = field(init=False)
    chargers: Ints = field(init=False)
    delay_s: Floats = field(init=False)

    def __post_init__(self) -> None:
        num, model = len(self.vertiports), self.model
        if self.demand.shape != self.fares.shape or self.demand.shape[1:] != (num, num) or num < 2:
            raise ConfigError(
                f"city: demand and fares must be [slots, {num}, {num}] for {num} vertiports, two at least, "
                f"got {self.demand.shape} and {self.fares.shape}. Mend them."
            )
        at = np.array([(one.x_miles, one.y_miles) for one in self.vertiports])
        miles = np.sqrt(((at[:, None] - at[None]) ** 2).sum(-1))
        energy = model.kwh_per_flight + model.kwh_per_mile * miles
        facts = {
            "place": {one.id: nth for nth, one in enumerate(self.vertiports)},
            "miles": miles,
            "flight_s": model.climb_s + miles / model.miles_per_h * 3600.0,
            "energy_kwh": energy,
            "cost": model.cost_per_flight + model.cost_per_mile * miles + model.cost_per_kwh * energy,
            "pads": np.array([one.num_pads for one in self.vertiports]),
            "chargers": np.array([one.num_chargers for one in self.vertiports]),
            "delay_s": np.array([one.delay_s for one in self.vertiports]),
        }
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    @property
    def num_vertiports(self) -> int:
        """How many there are."""
        return len(self.vertiports)

    @property
    def num_slots(self) -> int:
        """Of the day."""
        return len(self.demand)

    @property
    def end_s(self) -> Seconds:
        """When the day is over."""
        return self.num_slots * self.slot_s

    def slot_at(self, at_s: Seconds) -> int:
        """Which slot it is, the last one after the end."""
        return min(int(at_s / self.slot_s), self.num_slots - 1)


class Shift(Work, frozen=True, kw_only=True):
    """An aircraft's day: from its arrival it may be sent, until its deadline.

    Parameters
    ----------
    at : str
        The vertiport where it begins.
    battery_frac : float
        How full it is then, in [0, 1]; 1.
    """

    at: Id
    battery_frac: float = 1.0


class Fly(Action, frozen=True, gc=False):
    """Send an aircraft to another vertiport, with as many waiting passengers for it as it has seats."""

    id: Id
    to: Id

    @property
    def subject(self) -> Id:
        """The aircraft."""
        return self.id


class Stay(Action, frozen=True, gc=False):
    """Keep an aircraft where it is for a while; it charges if it has a charger."""

    id: Id

    @property
    def subject(self) -> Id:
        """The aircraft."""
        return self.id


class Ready(Event, frozen=True, gc=False, kw_only=True):
    """An aircraft may be sent again: it has landed and turned around, or stayed long enough."""

    id: Id


class Grounded(Event, frozen=True, gc=False, kw_only=True):
    """An aircraft needs repair where it landed, for a time that nobody knows."""

    id: Id


class RouteChanged(Event, frozen=True, gc=False, kw_only=True):
    """The route between two vertiports is closed, or open again, in both directions."""

    one: Id
    other: Id
    is_open: bool
