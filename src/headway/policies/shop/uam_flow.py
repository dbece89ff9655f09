"""A fleet of aircraft as a flow through time: the next hours are planned at each decision, the first step taken."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Seconds
from headway.numerics.flow import min_cost_flow
from headway.policies.shop.uam_board import AWAY, FleetView
from headway.policies.shop.uam_network import TimeNetwork
from headway.policies.shop.uam_nouns import City, Floats
from headway.policies.shop.uam_rule import idle, sent


class UamFlow:
    """Plans the whole fleet over the next hours as a flow of least cost, whenever an aircraft waits for a decision.

    Nodes are vertiports at times; aircraft flow along arcs that stay, that fly with passengers (as many flights as
    those who wait now, or are forecast, fill; each worth its fares less its cost) and that fly empty. The plan is a
    forecast; only what it says of the aircraft at hand is done.

    Parameters
    ----------
    horizon_s : float
        How far it looks, > 0; 3600. Longer was no better.
    slot_s : float
        Its step in time, > 0; 300. Shorter steps earn more and take longer: of 900, 600, 450 and 300 seconds
        the last was best.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: a rolling horizon over a time-expanded network, known from taxi and car-sharing fleets; a baseline that the
    specification of shop/uam-graph-rl adds to its paper's.

    Faithful to the paper: there is none; a policy of this project, 2026. Batteries are not in the network: every flight
    takes as long as it and its recharging take. Passengers who are not served at the first chance are forgotten.

    Cost: a flow problem with a few thousand arcs per decision, about ten milliseconds.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.shop.uam_small import small_world
    >>> world, _ = small_world(seed=0)
    >>> simulate(world, UamFlow()).num_refused
    0
    """

    def __init__(self, *, horizon_s: Seconds = 3600.0, slot_s: Seconds = 300.0) -> None:
        self.horizon_s = horizon_s
        self.slot_s = slot_s
        for name in ("horizon_s", "slot_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"shop/uam-flow: {name} must be > 0, got {getattr(self, name)}. Try the default.")
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Forget the city."""
        self._network: TimeNetwork | None = None

    def decide(self, event: Event, view: FleetView) -> Iterable[Action]:
        """Plan anew and do what the plan says of whoever is idle."""
        waiting = idle(view)
        if not waiting:
            return ()
        network = self._of(view.city)
        to = self._flows(network, view)
        actions = []
        for craft in waiting:
            here, legal = int(view.at[craft]), view.legal(craft)
            wanted = np.flatnonzero(legal & (to[here] > 0))
            worth = network.worth_now(view)[here]
            actions.append(sent(view, craft, int(wanted[np.argmax(worth[wanted])]) if len(wanted) else here))
        return actions

    def _of(self, city: City) -> TimeNetwork:
        if self._network is None or self._network.city is not city:
            self._network = TimeNetwork(city, max(round(self.horizon_s / self.slot_s), 2), self.slot_s)
        return self._network

    def _flows(self, network: TimeNetwork, view: FleetView) -> Floats:
        """Return how many aircraft the plan sends now, [from, to]; those that stay stand on the diagonal."""
        on_duty = view.state != AWAY
        slots = ((view.ready_s[on_duty] - view.now_s) / self.slot_s).clip(0, network.num_slots).astype(np.int64)
        ready = np.zeros((network.num_slots + 1, view.city.num_vertiports), np.int64)
        np.add.at(ready, (slots, view.at[on_duty]), 1)
        arcs = network.arcs(view, ready)
        flows = min_cost_flow(arcs.tails, arcs.heads, arcs.capacities, arcs.costs, network.supplies(ready))
        return network.first(flows)
