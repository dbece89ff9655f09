"""How one mechanism of the family becomes a whole policy."""

from __future__ import annotations

from typing import Any

from headway.core.errors import unknown_name
from headway.policies.shop.dispatching import Dispatching
from headway.policies.shop.following import Following
from headway.policies.shop.planning import AsPlanner
from headway.policies.shop.seats import SOLVERS

BUDGET_S = 2.0
"""For each plan; who has nothing left to gain ends sooner. `shop/follow` takes another."""


def as_policy(seat: str, part: Any, name: str = "") -> Any:
    """Let a rule dispatch, or follow what a solver plans.

    Parameters
    ----------
    seat : str
        ``"dispatch"``, ``"construct"``, ``"improve"`` or ``"exact"``.
    part : object
        What takes it.
    name : str
        The policy's name in traces and reports.

    Raises
    ------
    UnknownName
        When there is no such seat.
    """
    if seat == "dispatch":
        return Dispatching(rule=part, name=name)
    if seat in SOLVERS:
        return Following(planner=AsPlanner(solver=part), budget_s=BUDGET_S, name=name)
    raise unknown_name("shop: seat", seat, ("dispatch", *SOLVERS))
