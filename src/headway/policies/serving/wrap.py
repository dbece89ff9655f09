"""How one mechanism becomes a whole policy: it takes its seats in a `Stack` whose other seats are the defaults."""

from __future__ import annotations

from typing import Any

from headway.core.errors import unknown_name
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import SEATS, Stack


def as_policy(seats: str, part: Any, name: str = "") -> Stack:
    """Put a mechanism into a stack.

    Parameters
    ----------
    seats : str
        Which seats it takes, such as ``"batch"``, or ``"order+evict"`` for several.
    part : seat
        What takes them.
    name : str
        The policy's name in traces and reports; the batch seat's class by default.

    Raises
    ------
    UnknownName
        When there is no such seat.
    """
    names = seats.split("+")
    for seat in names:
        if seat not in SEATS:
            raise unknown_name("serving: seat", seat, SEATS)
    taken = {"batch": SarathiServe(), **dict.fromkeys(names, part)}
    return Stack(**taken, name=name)
