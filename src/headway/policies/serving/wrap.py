"""How one seat becomes a whole policy: it takes its place in a `Stack` whose other seats are the defaults."""

from __future__ import annotations

from typing import Any

from headway.core.errors import unknown_name
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack

SEATS = ("admit", "route", "batch")


def as_policy(seat_name: str, seat: Any, name: str = "") -> Stack:
    """Put `seat` into a stack.

    Parameters
    ----------
    seat_name : str
        Which seat it is: ``"admit"``, ``"route"`` or ``"batch"``.
    seat : Admit, Route or Batch
        The seat itself.
    name : str
        The policy's name in traces and reports; the batch seat's class by default.

    Raises
    ------
    UnknownName
        When there is no such seat.
    """
    if seat_name not in SEATS:
        raise unknown_name("serving: seat", seat_name, SEATS)
    seats = {"batch": SarathiServe(), seat_name: seat}
    return Stack(**seats, name=name)
