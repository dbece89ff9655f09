"""Dispatching: whenever a machine is free, the ready task that a rule puts first begins on it."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from headway.core.actions import Action
from headway.core.events import Event, Refused
from headway.core.nouns import Id
from headway.policies.shop.board import ShopView
from headway.policies.shop.round import Entry, Round
from headway.policies.shop.seats_dispatch import Rule
from headway.policies.shop.states import READY, TaskState


class Dispatching:
    """Gives each machine that is free the ready task with the lowest key, and never lets one wait that has a task.

    Keys that stay as they are are asked for once, and kept in a heap per machine; keys that change with time are asked
    for anew of all tasks in the queue of a machine that is free. What a machine holds is looked at only when something
    could begin there.

    Parameters
    ----------
    rule : Rule
        Says which task comes first.
    name : str
        In traces and reports; the rule's class by default.
    """

    def __init__(self, *, rule: Rule, name: str = "") -> None:
        self.rule = rule
        self.name = name or type(rule).__name__

    def reset(self, rng: np.random.Generator) -> None:
        """Forget all queues; a rule that throws dice gets `rng`."""
        if hasattr(self.rule, "reset"):
            self.rule.reset(rng)
        self._is_dynamic = self.rule.dynamic
        self._look = getattr(self.rule, "look", None)
        self._heaps: dict[Id, list[Entry]] = {}
        self._turn = -2
        self._num_seen = 0
        self._num_entered = 0

    def decide(self, event: Event, view: ShopView) -> Sequence[Action]:
        """Start on every machine that is free what its rule puts first."""
        if not self._is_dynamic:
            self._take_in(view)
            if type(event) is Refused and (state := view.tasks.get(event.id)) is not None:
                self._enter(state, view.now_s)
        if not view.open:
            return ()
        return Round(view).scan(self.rule, self._look) if self._is_dynamic else Round(view).pop(self._heaps)

    # Keys that stay -----------------------------------------------------------------------------------------------

    def _take_in(self, view: ShopView) -> None:
        """Enter what has become ready since the last decision; everything that is, when instants were missed."""
        turn, fresh = view.turn, view.fresh
        if turn == self._turn:
            fresh = fresh[self._num_seen :]
            self._num_seen += len(fresh)
        else:
            if turn != self._turn + 1:
                self._heaps = {}
                fresh = [state for state in view.tasks.values() if state.status == READY]
            self._turn, self._num_seen = turn, len(view.fresh)
        for state in fresh:
            self._enter(state, view.now_s)

    def _enter(self, state: TaskState, now_s: float) -> None:
        if state.status != READY:
            return
        for option in state.options:
            self._num_entered += 1
            entry = (self.rule.key(option, now_s), option.number, self._num_entered, option)
            heapq.heappush(self._heaps.setdefault(option.machine, []), entry)
