"""A stack as plain data: seats of several mechanisms, named by their rows in the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from headway.core import catalogue
from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Id
from headway.core.parameters import decode
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import SEATS, Stack

Named = str | dict[str, Any]
"""An id, or a table of an id and parameters."""


class Composed:
    """A policy whose seats are taken by different mechanisms.

    Each seat is given the id of a mechanism that has it, or a table of the id and parameters; an empty one is taken by
    the stack's default. Two seats that name the same thing are taken by one object.

    Parameters
    ----------
    admit, route, order, batch, evict, predict, migrate, place, scale, power : str or table
        Who sits there, such as ``"serving/sarathi"`` or ``{ id = "serving/sarathi", token_budget = 2048 }``; empty by
        default, which is `SarathiServe` for `batch`.

    Raises
    ------
    ConfigError, UnknownName
        When there is no such mechanism, it does not have that seat, or its parameters are wrong.

    Examples
    --------
    >>> Composed(route="serving/prefix-route", batch={"id": "serving/vllm", "max_seqs": 64}).stack.batch.max_seqs
    64
    """

    def __init__(
        self,
        *,
        admit: Named = "",
        route: Named = "",
        order: Named = "",
        batch: Named = "serving/sarathi",
        evict: Named = "",
        predict: Named = "",
        migrate: Named = "",
        place: Named = "",
        scale: Named = "",
        power: Named = "",
    ) -> None:
        self.admit = admit
        self.route = route
        self.order = order
        self.batch = batch
        self.evict = evict
        self.predict = predict
        self.migrate = migrate
        self.place = place
        self.scale = scale
        self.power = power
        self.stack = self._put_together()  # a wrong name is better told now than in the middle of a run

    def reset(self, rng: np.random.Generator) -> None:
        """Reset every seat."""
        self.stack.reset(rng)

    @property
    def foretells(self) -> bool:
        """Whether one of the seats decides by true lengths."""
        return self.stack.foretells

    def foretell(self, ask: Callable[[Id], int]) -> None:
        """Hand a function that tells true lengths to the seats that may know them."""
        self.stack.foretell(ask)

    def decide(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Answer an event with what the stack answers."""
        return self.stack.decide(event, view)

    def _put_together(self) -> Stack:
        made: list[tuple[Named, Any]] = []
        taken: dict[str, Any] = {}
        for seat in SEATS:
            named = getattr(self, seat)
            if not named:
                continue
            table = _table(seat, named)
            same = [part for other, part in made if other == named]
            taken[seat] = same[0] if same else _part(table)
            made.append((named, taken[seat]))
        return Stack(**{"batch": SarathiServe(), **taken}, name="serving/stack")


def _part(table: Mapping[str, Any]) -> Any:
    return decode(catalogue.load(table["id"]), {k: v for k, v in table.items() if k != "id"}, where=table["id"])


def _table(seat: str, named: Named) -> Mapping[str, Any]:
    """Return what is to take a seat as a table, once it is known that it has that seat."""
    table: Mapping[str, Any] = {"id": named} if isinstance(named, str) else named
    where = f"serving/stack: {seat}"
    if not isinstance(table.get("id"), str):
        raise ConfigError(f'{where}: must have an id, got {dict(table)!r}. Try {{ id = "serving/sarathi" }}.')
    row = catalogue.find(table["id"])
    if seat not in row.seat.split("+"):
        able = ", ".join(r.id for r in catalogue.rows("serving") if seat in r.seat.split("+")) or "none yet"
        raise ConfigError(f"{where}: {row.id} takes the seat {row.seat}. There are for {seat}: {able}.")
    return table
