"""Plays a whole day of a fleet by a plan, as forecast; compiled, for those who compare thousands of plans.

A plan is an array [aircraft, flights] of vertiports; the vertiport where an aircraft is means a stay. A flight that
cannot be flown when its turn comes is tried again after a stay. `GREED` stands for whatever pays most at that moment.
"""

# numba has no types
# mypy: allow-untyped-decorators, no-warn-return-any

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.numerics.jit import njit

GREED = -1
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FLYING, ON_GROUND = 0, 1


@njit(cache=True)
def play_all(
    plans: Ints,
    places: Ints,
    batteries: Floats,
    demand: Floats,
    fares: Floats,
    flight_s: Floats,
    energy_kwh: Floats,
    cost: Floats,
    delay_s: Floats,
    pads: Ints,
    chargers: Ints,
    facts: Floats,
) -> Floats:
    """Play plans one by one; returns the profit of each, and writes what `GREED` came to into them.

    Parameters
    ----------
    plans : array of int, [plans, aircraft, flights]
        Changed where they hold `GREED`.
    places, batteries : array, [aircraft]
        Where aircraft begin, and what is in their batteries.
    demand, fares : array, [slots, from, to]
        Forecast.
    flight_s, energy_kwh, cost : array, [from, to]
        Of a flight.
    delay_s, pads, chargers : array, [vertiports]
        Of a vertiport.
    facts : array, [8]
        Seconds of a slot and how many of them people wait; seats; capacity and reserve of a battery, and what a second
        of charging brings, in kWh; seconds from landing to the next decision and of a stay.
    """
    profits = np.empty(len(plans))
    for nth in range(len(plans)):
        profits[nth] = _play(
            plans[nth], places, batteries, demand, fares, flight_s, energy_kwh, cost, delay_s, pads, chargers, facts
        )
    return profits


@njit(cache=True)
def _play(  # noqa: C901 (a day is one loop over what its arrays hold)
    plan: Ints,
    places: Ints,
    batteries: Floats,
    demand: Floats,
    fares: Floats,
    flight_s: Floats,
    energy_kwh: Floats,
    cost: Floats,
    delay_s: Floats,
    pads: Ints,
    chargers: Ints,
    facts: Floats,
) -> float:
    num_crafts, num_slots, num_ports = len(places), len(demand), len(pads)
    slot_s, seats, turnaround_s, stay_s = facts[0], facts[2], facts[6], facts[7]
    end_s = num_slots * slot_s
    at = places.copy()
    battery = batteries.copy()
    since_s = np.zeros(num_crafts)
    parked_s = np.zeros(num_crafts)
    has_charger = np.zeros(num_crafts, np.bool_)
    is_parked = np.ones(num_crafts, np.bool_)
    inbound = np.zeros(num_ports, np.int64)
    free = chargers.copy()
    for craft in range(num_crafts):
        inbound[at[craft]] += 1
        if free[at[craft]] > 0:
            free[at[craft]] -= 1
            has_charger[craft] = True
    waiting = np.zeros((int(facts[1]), num_ports, num_ports))  # by age, the youngest first
    next_s = np.zeros(num_crafts)
    what = np.full(num_crafts, ON_GROUND)
    step = np.zeros(num_crafts, np.int64)
    turns = np.arange(num_crafts)  # of several at one moment, the first whose moment was set, as in the world
    num_turns = num_crafts
    slot, profit = -1, 0.0
    while True:
        craft = _first(next_s, turns)
        turns[craft] = num_turns
        num_turns += 1
        now_s = next_s[craft]
        if now_s >= end_s and what[craft] == ON_GROUND:
            next_s[craft] = np.inf
            if np.isinf(next_s.min()):
                return profit
            continue
        while slot < min(int(now_s / slot_s), num_slots - 1):
            slot += 1
            for age in range(len(waiting) - 1, 0, -1):
                waiting[age] = waiting[age - 1]
            waiting[0] = demand[slot]
        here = at[craft]
        if what[craft] == FLYING:
            what[craft] = ON_GROUND
            is_parked[craft] = True
            since_s[craft] = parked_s[craft] = now_s
            if free[here] > 0:
                free[here] -= 1
                has_charger[craft] = True
            next_s[craft] = now_s + turnaround_s
            continue
        held = battery[craft]
        if has_charger[craft]:
            held = min(held + (now_s - since_s[craft]) * facts[5], facts[3])
        to = here
        if step[craft] < plan.shape[1]:
            to = plan[craft, step[craft]]
            if to == GREED:
                to = _greedy(here, held, inbound, pads, waiting, fares[slot], cost, energy_kwh, facts)
                plan[craft, step[craft]] = to
        if to == here:
            step[craft] += 1
            next_s[craft] = now_s + stay_s
            continue
        if inbound[to] >= pads[to] or held - energy_kwh[here, to] < facts[4]:
            next_s[craft] = now_s + stay_s
            continue
        step[craft] += 1
        battery[craft] = held - energy_kwh[here, to]
        is_parked[craft] = False
        inbound[here] -= 1
        if has_charger[craft]:
            has_charger[craft] = False
            _pass_on(craft, here, at, is_parked, has_charger, parked_s, since_s, free, now_s)
        profit += _board(here, to, waiting, seats) * fares[slot, here, to] - cost[here, to]
        at[craft] = to
        inbound[to] += 1
        what[craft] = FLYING
        next_s[craft] = now_s + delay_s[here] + flight_s[here, to]


@njit(cache=True)
def _first(next_s: Floats, turns: Ints) -> int:
    first = 0
    for other in range(1, len(next_s)):
        if next_s[other] < next_s[first] or (next_s[other] == next_s[first] and turns[other] < turns[first]):
            first = other
    return first


@njit(cache=True)
def _greedy(
    here: int,
    held: float,
    inbound: Ints,
    pads: Ints,
    waiting: Floats,
    fares: Floats,
    cost: Floats,
    energy_kwh: Floats,
    facts: Floats,
) -> int:
    best, most = here, 0.0
    for to in range(len(pads)):
        if to != here and inbound[to] < pads[to] and held - energy_kwh[here, to] >= facts[4]:
            people = 0.0
            for age in range(len(waiting)):
                people += waiting[age, here, to]
            gain = min(np.floor(people + 1e-9), facts[2]) * fares[here, to] - cost[here, to]
            if gain > most:
                best, most = to, gain
    return best


@njit(cache=True)
def _board(here: int, to: int, waiting: Floats, seats: float) -> float:
    """Let whole passengers board, those who have waited longest first; returns how many."""
    people = 0.0
    for age in range(len(waiting)):
        people += waiting[age, here, to]
    num = min(np.floor(people + 1e-9), seats)
    left = num
    for age in range(len(waiting) - 1, -1, -1):
        taken = min(waiting[age, here, to], left)
        waiting[age, here, to] -= taken
        left -= taken
    return num


@njit(cache=True)
def _pass_on(
    craft: int,
    here: int,
    at: Ints,
    is_parked: NDArray[np.bool_],
    has_charger: NDArray[np.bool_],
    parked_s: Floats,
    since_s: Floats,
    free: Ints,
    now_s: float,
) -> None:
    """Give a charger to whoever has waited longest for one."""
    heir = -1
    for other in range(len(at)):
        waits = other != craft and at[other] == here and is_parked[other] and not has_charger[other]
        if waits and (heir < 0 or parked_s[other] < parked_s[heir]):
            heir = other
    if heir < 0:
        free[here] += 1
    else:
        has_charger[heir], since_s[heir] = True, now_s
