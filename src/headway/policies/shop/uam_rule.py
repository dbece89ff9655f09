"""Simple rules for a fleet of aircraft: whatever pays most at once, or anything that is possible."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.policies.shop.uam_board import IDLE, FleetView
from headway.policies.shop.uam_nouns import Floats, Fly, Stay

Name = Literal["greedy", "random"]


class UamRule:
    """Sends each aircraft by itself, without looking ahead.

    Parameters
    ----------
    rule : str
        ``"greedy"`` flies where the passengers that wait now pay most beyond what the flight costs, and stays where
        nothing pays. ``"random"`` draws among all that is possible, a stay included.

    Raises
    ------
    ConfigError
        When there is no such rule.

    Notes
    -----
    Source: both are baselines of the specification of shop/uam-graph-rl.

    Faithful to the paper: there is none; rules of this project, 2026.

    Cost: O(vertiports) per decision.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.shop.uam_small import small_world
    >>> world, _ = small_world(seed=0)
    >>> simulate(world, UamRule()).num_refused
    0
    """

    def __init__(self, *, rule: Name = "greedy") -> None:
        self.rule = rule
        if rule not in ("greedy", "random"):
            raise ConfigError(f"shop/uam-rule: rule must be greedy or random, got {rule!r}. Try greedy.")
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Keep the dice."""
        self._rng = rng

    def decide(self, event: Event, view: FleetView) -> Iterable[Action]:
        """Send whoever is idle."""
        return [self._sent(int(craft), view) for craft in idle(view)]

    def _sent(self, craft: int, view: FleetView) -> Action:
        legal = view.legal(craft)
        if self.rule == "random":
            return sent(view, craft, int(self._rng.choice(np.flatnonzero(legal))))
        return sent(view, craft, int(np.argmax(np.where(legal, gains(view, craft), -np.inf))))


def idle(view: FleetView) -> list[int]:
    """Return the aircraft that wait for a decision."""
    found: list[int] = np.flatnonzero(view.state == IDLE).tolist()
    return found


def sent(view: FleetView, craft: int, to: int) -> Action:
    """Return the action that sends an aircraft to a vertiport, or lets it stay where it is."""
    if to == int(view.at[craft]):
        return Stay(view.ids[craft])
    return Fly(view.ids[craft], view.city.vertiports[to].id)


def gains(view: FleetView, craft: int) -> Floats:
    """Return the profit of a flight to each vertiport with those who wait now; 0 for staying."""
    here = int(view.at[craft])
    found: Floats = np.minimum(view.waiting[here], view.city.model.num_seats) * view.fares[here] - view.city.cost[here]
    found[here] = 0.0
    return found
