"""Days of a fleet to play with: a drawn city of two demand peaks, a small one for contract checks, one that lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from msgspec import structs

from headway.core.learning import Asking
from headway.core.nouns import Seconds
from headway.core.session import arrival_stream, truth_stream
from headway.policies.shop.uam_graph_rl import UamGraphRl
from headway.policies.shop.uam_nouns import City, Floats, Model, Shift, Vertiport
from headway.sim.shop.episodes import episode
from headway.sim.shop.uam_world import Closure, FleetWorld, Hidden

CITY = 7
"""Seed of the one city in which networks are taught and compared; days differ."""
PART_SLOTS = 48
"""Of a part of a day, four hours."""
PEAKS_H = (2.0, 9.0)
"""Hours after the day's begin at which most people travel: towards the centres, and home."""


def drawn_city(
    seed: int = CITY,
    *,
    num_vertiports: int = 8,
    hours: float = 12.0,
    passengers_per_h: float = 400.0,
    num_pads: int = 10,
    num_chargers: int = 6,
    model: Model | None = None,
) -> City:
    """Draw a city: vertiports on a square of 36 miles, a quarter of them in centres where people work.

    Parameters
    ----------
    seed : int
        Of places and of how many people live and work there.
    num_vertiports : int
        >= 2; 8.
    hours : float
        Of the day, > 0; 12.
    passengers_per_h : float
        Expected on average over the day, >= 0; 400.
    num_pads, num_chargers : int
        Of each vertiport; 10 and 6.
    model : Model or None
        Of the aircraft; its defaults when None.
    """
    rng, model = np.random.default_rng([seed, num_vertiports]), model or Model()
    at = _spread(rng, num_vertiports)
    num_centres = max(1, num_vertiports // 4)
    lives = rng.uniform(0.5, 1.0, num_vertiports)
    works = rng.uniform(0.2, 0.5, num_vertiports)
    lives[:num_centres], works[:num_centres] = 0.3, rng.uniform(1.5, 2.5, num_centres)
    ports = tuple(
        Vertiport(
            id=f"port-{nth}",
            x_miles=float(at[nth, 0]),
            y_miles=float(at[nth, 1]),
            num_pads=num_pads,
            num_chargers=num_chargers,
            delay_s=float(rng.uniform(30, 120)),
        )
        for nth in range(num_vertiports)
    )
    slot_s = 300.0
    demand = _demand(lives, works, round(hours * 3600 / slot_s), slot_s, passengers_per_h)
    miles = np.sqrt(((at[:, None] - at[None]) ** 2).sum(-1))
    surge = 0.8 + 0.4 * demand / max(float(demand.mean()), 1e-9)
    fares = (5.0 + 4.0 * miles) * np.clip(surge, 0.8, 1.8)
    return City(vertiports=ports, model=model, demand=demand, fares=fares, slot_s=slot_s)


def _spread(rng: np.random.Generator, num: int) -> Floats:
    """Draw places in a square of 36 miles, each at least 6 miles from the others."""
    found: list[Floats] = []
    while len(found) < num:
        one = rng.uniform(0.0, 36.0, 2)
        if all(np.hypot(*(one - other)) > 6.0 for other in found):
            found.append(one)
    return np.array(found)


def _demand(lives: Floats, works: Floats, num_slots: int, slot_s: Seconds, passengers_per_h: float) -> Floats:
    hour = (np.arange(num_slots) + 0.5) * slot_s / 3600.0
    out, back = (np.exp(-(((hour - peak) / 1.3) ** 2)) for peak in PEAKS_H)
    there = lives[:, None] * works[None, :]
    even = (lives[:, None] * lives[None, :] + works[:, None] * works[None, :]) / 2
    level = out[:, None, None] * there + back[:, None, None] * there.T + 0.25 * even
    level[:, np.arange(len(lives)), np.arange(len(lives))] = 0.0
    return np.asarray(level * passengers_per_h * num_slots * slot_s / 3600.0 / level.sum())


def drawn_day(city: City, num_crafts: int, seed: int, *, is_sure: bool = False) -> FleetWorld:
    """Draw a day of a fleet that begins spread over the city with full batteries.

    Parameters
    ----------
    city : City
        Where.
    num_crafts : int
        Of the fleet, >= 1.
    seed : int
        Of the day.
    is_sure : bool
        Whether everything comes as forecast: passengers and fares are known, take-offs late by the mean, no route
        closes and nothing breaks.
    """
    arrivals, rng = arrival_stream(seed), truth_stream(seed)
    num = city.num_vertiports
    pairs = arrivals.lognormal(-(0.3**2) / 2, 0.3, (num, num))  # some routes are more in demand today
    passengers = arrivals.poisson(city.demand * pairs)
    fares = city.fares * np.clip(arrivals.normal(1.0, 0.1, city.fares.shape), 0.5, 1.5)
    if is_sure:
        city = replace(city, demand=passengers.astype(float), fares=fares)
    places = np.arange(num_crafts) % num
    shifts = [
        Shift(
            id=f"craft-{nth}",
            kind="shift",
            arrival_s=0.0,
            deadline_s=city.end_s,
            at=city.vertiports[places[nth]].id,
        )
        for nth in range(num_crafts)
    ]
    shape = (num_crafts, 128)
    delays = np.ones(shape) if is_sure else rng.gamma(2.0, 0.5, shape)
    repairs = np.where(rng.random(shape) < (0.0 if is_sure else 0.01), rng.uniform(1800, 5400, shape), 0.0)
    closures = () if is_sure else _closures(city, rng)
    hidden = Hidden(passengers=passengers, fares=fares, delays=delays, repairs_s=repairs, closures=closures)
    return FleetWorld(city, shifts, hidden)


def _closures(city: City, rng: np.random.Generator) -> tuple[Closure, ...]:
    """Draw closures: today's weather closes each route up to 0.05 times an hour, for half an hour to one."""
    per_h, found = rng.uniform(0.0, 0.05), []
    for one in range(city.num_vertiports):
        for other in range(one):
            for hour in range(int(np.ceil(city.end_s / 3600))):
                begin, length = hour * 3600 + rng.uniform(0, 3600), rng.uniform(1800, 3600)
                if rng.random() < per_h:
                    found.append((begin, begin + length, other, one))
    return tuple(found)


def part_of_day(seed: int, num_crafts: int = 40) -> FleetWorld:
    """Draw four hours from anywhere in a day, which learners play.

    Parameters
    ----------
    seed : int
        Of the part and of the day.
    num_crafts : int
        Of the fleet, >= 1; 40.
    """
    rng, city = np.random.default_rng([seed, 2]), drawn_city()
    first = int(rng.integers(city.num_slots - PART_SLOTS + 1))
    part = slice(first, first + PART_SLOTS)
    return drawn_day(replace(city, demand=city.demand[part], fares=city.fares[part]), num_crafts, seed)


def start(seed: int) -> Asking[float]:
    """Begin a part of a day, for learners; rewards are profit in fares of a full aircraft."""
    world = part_of_day(seed)
    return episode(world, UamGraphRl(), lambda one: one.view.profit / worth_of(one.view.city), seed=seed)


def worth_of(city: City) -> float:
    """What a full aircraft takes in at the highest fare; rewards of learners are told in it."""
    return float(city.fares.max()) * city.model.num_seats


def small_world(seed: int, worse: bool = False) -> tuple[FleetWorld, None]:
    """Make a world small enough for contract checks: an hour of three vertiports and six aircraft, one on short duty.

    Parameters
    ----------
    seed : int
        Of the day.
    worse : bool
        Whether everything is otherwise after the first aircraft is off duty: who comes, delays, closures, repairs.

    Returns
    -------
    (FleetWorld, None)
        The world; it has no accounts of its own.
    """
    city = drawn_city(3, num_vertiports=3, hours=1.0, passengers_per_h=90.0, num_pads=3, num_chargers=1)
    world = drawn_day(city, 6, seed)
    hidden, first_end_s = world.hidden, 240.0
    delays = hidden.delays + 2.0  # nothing lands before the first is off duty
    passengers, repairs = hidden.passengers.copy(), hidden.repairs_s
    closures: tuple[Closure, ...] = ((600.0, 1500.0, 1, 2),)
    if worse:
        passengers[2:] = passengers[2:][::-1] + 1
        delays, repairs = delays * 2.0, repairs + 1200.0
        closures = ((400.0, 2000.0, 0, 1),)
    changed = Hidden(passengers=passengers, fares=hidden.fares, delays=delays, repairs_s=repairs, closures=closures)
    # the one on short duty has an empty battery: it can but stay, so that nothing makes its end later
    short = structs.replace(world.shifts[5], deadline_s=first_end_s, battery_frac=0.0)
    shifts = [*world.shifts[:5], short]
    return FleetWorld(city, shifts, changed), None


def lying_world(seed: int) -> FleetWorld:
    """Make the small world of a seed in which all is otherwise later; it looks the same until a first shift ends."""
    return small_world(seed, worse=True)[0]
