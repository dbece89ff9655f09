"""How evenly work can be spread when each piece may be split between the places that can take it: a linear program."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from headway.core.errors import missing_extra

Option = Mapping[int, float]
"""What a piece loads on each place if it goes this way."""


def least_level(pieces: Sequence[Sequence[Option]], rates: Mapping[int, float], heads: Mapping[int, float]) -> float:
    """Return a level that no way of spreading beats; pieces may be split between their options.

    Parameters
    ----------
    pieces : sequence of sequence of mapping
        The options of each piece; at least one.
    rates : mapping of int to float
        How much of its load a place works off while the level rises by one, > 0.
    heads : mapping of int to float
        The level at which each place begins, >= 0.

    Returns
    -------
    float
        The least level at which every place is done; 0 when there is nothing to do or the solver gives up.

    Raises
    ------
    MissingExtra
        When OR-Tools is not installed.

    Examples
    --------
    Two places, one piece of 4 for either and one of 2 for the first alone:

    >>> round(least_level([[{0: 4.0}, {1: 4.0}], [{0: 2.0}]], {0: 1.0, 1: 1.0}, {0: 0.0, 1: 0.0}), 6)
    3.0
    """
    program = _library().Solver.CreateSolver("GLOP")
    level = program.NumVar(0.0, program.infinity(), "")
    loads: dict[int, list[tuple[Any, float]]] = defaultdict(list)
    for options in pieces:
        shares = [program.NumVar(0.0, 1.0, "") for _ in options]
        whole = program.Constraint(1.0, 1.0)
        for share, option in zip(shares, options, strict=True):
            whole.SetCoefficient(share, 1.0)
            for place, load in option.items():
                loads[place].append((share, load))
    for place, parts in loads.items():
        room = program.Constraint(-program.infinity(), -rates[place] * heads[place])
        room.SetCoefficient(level, -rates[place])
        for share, load in parts:
            room.SetCoefficient(share, load)
    program.Minimize(level)
    is_solved = program.Solve() == _library().Solver.OPTIMAL
    return float(program.Objective().Value()) if is_solved else 0.0


def _library() -> Any:
    try:
        return import_module("ortools.linear_solver.pywraplp")
    except ImportError as error:
        raise missing_extra("ortools", "shop", "to bound how work can be spread") from error
