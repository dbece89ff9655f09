"""What a network sees of a fleet when an aircraft waits: two graphs, series of forecasts, the choices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.learning import Features, Question
from headway.policies.shop.uam_board import AWAY, GROUNDED, FleetView
from headway.policies.shop.uam_nouns import City, Floats
from headway.policies.shop.uam_rule import gains

NUM_BLOCKS = 6
BLOCK_SLOTS = 3
"""Forecasts are seen as six sums of a quarter of an hour each."""
NUM_SERIES = 5
NUM_OF_PORT = 9
NUM_OF_CRAFT = 7
NUM_OF_PAIR = 9
NUM_OF_ALL = 5
NEAR_MILES = 15.0
SIDE_MILES = 36.0
HALF_HOUR_S = 1800.0
MANY = 20.0
"""Passengers that are divided by this are about 1."""


class Sight:
    """Looks at one city.

    Parameters
    ----------
    city : City
        With its forecasts.
    """

    def __init__(self, city: City) -> None:
        self.city = city
        num = city.num_vertiports
        self._most = float(city.fares.max()) * city.model.num_seats
        self._fare = float(city.fares.max())
        self._links = np.exp(-city.miles / NEAR_MILES) * (1.0 - np.eye(num))
        pad = np.zeros((NUM_BLOCKS * BLOCK_SLOTS + 1, num, num))
        self._demand = np.cumsum(np.concatenate([pad[:1], city.demand, pad]), axis=0)
        price = np.concatenate([city.fares, np.repeat(city.fares[-1:], len(pad), axis=0)])
        self._price = np.cumsum(np.concatenate([pad[:1], price]), axis=0)
        self._out, self._in = self._demand.sum(2), self._demand.sum(1)
        at = np.array([(one.x_miles, one.y_miles) for one in city.vertiports]) / SIDE_MILES - 0.5
        self._at = at
        fixed = [at, city.chargers[:, None] / 10.0, city.delay_s[:, None] / 120.0]
        self._fixed = np.concatenate(fixed, axis=1)

    def question(self, view: FleetView, craft: int) -> Question:
        """Put the choice of where an aircraft goes as a question; the vertiport where it is stands for staying."""
        here = int(view.at[craft])
        legal = view.legal(craft)
        worth = np.minimum(view.waiting, view.city.model.num_seats) * view.fares - view.city.cost
        supply = self._supply(view)
        batteries = view.batteries_kwh() / view.city.model.battery_kwh
        features: Features = {
            "links": (self._links * ~view.is_closed).astype(np.float32),
            "ports": self._ports(view, worth, supply),
            "crafts": self._crafts(view, craft, batteries),
            "where": view.at.astype(np.int64),
            "series": self._series(view, here, supply),
            "pairs": self._pairs(view, craft, legal, worth, batteries[craft]),
            "whole": self._whole(view, batteries),
        }
        return Question(features, legal)

    def _supply(self, view: FleetView) -> Floats:
        """Aircraft that will be ready, [vertiports, blocks]."""
        left = (view.ready_s - view.now_s) / (BLOCK_SLOTS * self.city.slot_s)
        block = np.clip(left, 0, NUM_BLOCKS - 1).astype(np.int64)
        num = self.city.num_vertiports
        counts = np.bincount(
            view.at * NUM_BLOCKS + block, weights=(view.state != AWAY), minlength=num * NUM_BLOCKS
        )  # fmt: skip
        return counts.reshape(num, NUM_BLOCKS) / 10.0

    def _ports(self, view: FleetView, worth: Floats, supply: Floats) -> NDArray[np.float32]:
        found = np.empty((self.city.num_vertiports, NUM_OF_PORT), np.float32)
        found[:, :4] = self._fixed
        found[:, 4] = 1.0 - view.inbound / self.city.pads
        found[:, 5] = view.waiting.sum(1) / MANY
        found[:, 6] = view.waiting.sum(0) / MANY
        found[:, 7] = np.maximum(worth, 0.0).sum(1) / self._most
        found[:, 8] = supply[:, 0]
        return found

    def _crafts(self, view: FleetView, craft: int, batteries: Floats) -> NDArray[np.float32]:
        found = np.empty((len(view.state), NUM_OF_CRAFT), np.float32)
        found[:, :2] = self._at[view.at]
        found[:, 2] = np.clip((view.ready_s - view.now_s) / HALF_HOUR_S, 0.0, 2.0)
        found[:, 3] = batteries
        found[:, 4] = view.state == GROUNDED
        found[:, 5] = view.state != AWAY
        found[:, 6] = 0.0
        found[craft, 6] = 1.0
        return found

    def _series(self, view: FleetView, here: int, supply: Floats) -> NDArray[np.float32]:
        """What is forecast, [vertiports, series * blocks]: demand and fare from here, all out, all in, aircraft."""
        first = self.city.slot_at(view.now_s) + 1
        ends = first + BLOCK_SLOTS * np.arange(NUM_BLOCKS + 1)
        shape = (self.city.num_vertiports, NUM_SERIES, NUM_BLOCKS)
        found = np.empty(shape, np.float32)
        found[:, 0] = np.diff(self._demand[ends, here], axis=0).T / 4.0
        found[:, 1] = np.diff(self._price[ends, here], axis=0).T / (BLOCK_SLOTS * self._fare)
        found[:, 2] = np.diff(self._out[ends], axis=0).T / MANY
        found[:, 3] = np.diff(self._in[ends], axis=0).T / MANY
        found[:, 4] = supply
        return found.reshape(shape[0], -1)

    def _pairs(
        self, view: FleetView, craft: int, legal: NDArray[np.bool_], worth: Floats, battery: float
    ) -> NDArray[np.float32]:
        city, here = self.city, int(view.at[craft])
        found = np.empty((city.num_vertiports, NUM_OF_PAIR), np.float32)
        found[:, 0] = 0.0
        found[here, 0] = 1.0
        found[:, 1] = city.flight_s[here] / HALF_HOUR_S
        found[:, 2] = np.minimum(view.waiting[here] / city.model.num_seats, 2.0)
        found[:, 3] = gains(view, craft) / self._most
        found[:, 4] = view.fares[here] / self._fare
        found[:, 5] = legal
        found[:, 6] = battery - city.energy_kwh[here] / city.model.battery_kwh
        found[here, 6] = battery
        found[:, 7] = np.maximum(worth, 0.0).max(1) / self._most
        found[:, 8] = view.is_closed[here]
        return found

    def _whole(self, view: FleetView, batteries: Floats) -> NDArray[np.float32]:
        left_s = self.city.end_s - view.now_s
        told = (
            min(left_s / 3600.0, 2.0),
            view.waiting.sum() / (MANY * len(view.waiting)),
            batteries.mean(),
            view.is_closed.mean(),
            (view.state != AWAY).sum() / view.city.pads.sum(),
        )
        return np.array(told, np.float32)
