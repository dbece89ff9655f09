"""The solvers that the catalogue knows, by the names that people type."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

from headway.core import catalogue
from headway.core.errors import unknown_name
from headway.core.parameters import decode
from headway.policies.shop.seats import SOLVERS, Solver

FAMILY = "shop"
DEFAULT = "shop/headway"
"""Who solves when nobody is named."""


def planners() -> list[catalogue.Row]:
    """Return the rows of all solvers."""
    return [row for row in catalogue.rows(FAMILY) if row.seat in SOLVERS]


def qualified(name: str) -> str:
    """Return the id that a name with or without its family means."""
    return name if "/" in name else f"{FAMILY}/{name}"


def planner(name: str, params: Mapping[str, Any], *, workers: int = 0) -> Solver:
    """Build a solver.

    Parameters
    ----------
    name : str
        Its id, with or without its family.
    params : mapping of str to object
        Its parameters.
    workers : int
        For solvers with a parameter of this name, when `params` does not have it, >= 0; 0 is left to the solver.

    Raises
    ------
    UnknownName, ConfigError
        When there is no such solver, or its parameters are wrong.
    """
    known = [row.id for row in planners()]
    id_ = qualified(name)
    if id_ not in known:
        raise unknown_name("planner", name, known, "headway solve --list")
    cls = catalogue.load(id_)
    given = dict(params)
    if workers and "workers" in inspect.signature(cls).parameters:
        given.setdefault("workers", workers)
    return cast(Solver, decode(cls, given, where=id_))
