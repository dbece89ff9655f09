"""Rules for transfer robots: first come first served, backward and other cycles, and the swap of two hands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.policies.shop.glass_board import CellView
from headway.policies.shop.glass_moves import free_places, picks, places
from headway.policies.shop.glass_nouns import Pick, Place

Name = Literal["fifo", "cycle", "swap"]


class GlassRule:
    """Moves glass by a rule, without learning.

    Parameters
    ----------
    rule : str
        ``"fifo"`` takes what has been done for longest and has somewhere to go. ``"cycle"`` serves stages in a fixed
        order again and again, and waits at a chamber for what is not done yet. ``"swap"``, for two hands, carries glass
        to the chamber of its stage, takes out what is there with the other hand and puts the glass in; with one hand
        it is ``"cycle"``.
    order : tuple of int
        Of a cycle: stages to take glass from, 0 for the loader, each once; empty for the backward sequence, which
        begins with the last stage.

    Raises
    ------
    ConfigError
        When there is no such rule, or the order is not one.

    Notes
    -----
    Source: the sequences are common knowledge of cluster tools; their names are those of the specification of
    shop/glass-flow-robots, whose baselines they are.

    Faithful to the paper: there is none; a rule of this project, 2026. With parallel chambers a cycle takes glass from
    a stage that has a free chamber only when the glass is done.

    Cost: O(stations) per move.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.shop.glass_small import small_world
    >>> world, _ = small_world(seed=0)
    >>> simulate(world, GlassRule(rule="swap")).num_refused
    0
    """

    def __init__(self, *, rule: Name = "fifo", order: tuple[int, ...] = ()) -> None:
        self.rule = rule
        self.order = order
        if rule not in ("fifo", "cycle", "swap"):
            raise ConfigError(f"shop/glass-rule: rule must be fifo, cycle or swap, got {rule!r}. Try swap.")
        if sorted(order) != list(range(len(order))):
            raise ConfigError(f"shop/glass-rule: order must hold each stage from 0 once, got {order}. Leave it out.")
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Begin the cycle anew."""
        self._next = 0

    def decide(self, event: Event, view: CellView) -> Iterable[Action]:
        """Give an idle robot its next move."""
        if view.doing is not None:
            return ()
        if self.rule == "fifo":
            return self._first_come(view)
        if self.rule == "swap" and len(view.hands) == 2:
            return self._swap(view)
        return self._cycle(view)

    def _first_come(self, view: CellView) -> Iterable[Action]:
        put = _put_down(view)
        if put is not None:
            return (put,)
        ready = {one: hand for one, hand in picks(view).items() if one == view.layout.loader or view.is_done[one]}
        # glass in the loader is behind all that is in the cell already
        station = min(ready, key=lambda one: (one == view.layout.loader, view.done_s[one]), default=None)
        return () if station is None else (_pick(view, station, ready[station]),)

    def _cycle(self, view: CellView) -> Iterable[Action]:
        put = _put_down(view)
        if put is not None:
            return (put,)
        order, found = self.order or tuple(range(view.layout.num_stages, -1, -1)), picks(view)
        if len(order) != view.layout.num_stages + 1:
            raise ConfigError(
                f"shop/glass-rule: order must have {view.layout.num_stages + 1} stages for this cell, got {order}."
            )
        turns = [(self._next + nth) % len(order) for nth in range(len(order))]
        for is_patient in (False, True):
            for turn in turns:
                station = _soonest(view, order[turn], found, is_patient)
                if station is not None:
                    self._next = (turn + 1) % len(order)
                    return (_pick(view, station, found[station]),)
        return ()

    def _swap(self, view: CellView) -> Iterable[Action]:
        put, found = _put_down(view), picks(view)
        if put is not None:
            return (put,)
        held = next((glass for glass in view.hands if glass), "")
        if held:
            wanted = [one for one in view.layout.of_stage[view.stage_of(held)] if one in found]
        else:
            # the loader feeds the cycle; once it is empty, what is nearest to leaving goes first
            wanted = [view.layout.loader] if view.layout.loader in found else []
        wanted = wanted or sorted(found, key=lambda one: -view.layout.cell.stations[one].stage)[:1]
        station = min(wanted, key=lambda one: view.done_s[one] if view.glass[one] else 0.0, default=None)
        return () if station is None else (_pick(view, station, found[station]),)


def _pick(view: CellView, station: int, hand: int) -> Action:
    return Pick(view.layout.cell.stations[station].id, hand)


def _put_down(view: CellView) -> Action | None:
    """Return the nearest place for what a hand holds, if there is one."""
    found = places(view)
    station = min(found, key=lambda one: view.layout.move_s[view.at][one], default=None)
    return None if station is None else Place(view.layout.cell.stations[station].id, found[station])


def _soonest(view: CellView, stage: int, found: dict[int, int], is_patient: bool) -> int | None:
    """Return from where of a stage to take glass, or None when there is none, or it would take patience."""
    here = [one for one in view.layout.of_stage[stage] if one in found]
    station = min(here, key=lambda one: view.done_s[one] if view.glass[one] else 0.0, default=None)
    if station is None or stage == 0 or view.is_done[station] or is_patient:
        return station
    return None if free_places(view, stage) else station
