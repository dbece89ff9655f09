"""Flows of least cost through a network: a front end of OR-Tools that knows no scheduling words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headway.core.errors import PlanError, missing_extra

Ints = npt.NDArray[np.int64]


def min_cost_flow(tails: Ints, heads: Ints, capacities: Ints, costs: Ints, supplies: Ints) -> Ints:
    """Return how much flows along each arc when all supplies reach all demands at the least cost.

    Parameters
    ----------
    tails, heads : array of int, [arcs]
        From which node to which, >= 0.
    capacities : array of int, [arcs]
        How much may flow, >= 0.
    costs : array of int, [arcs]
        Of each unit; may be negative.
    supplies : array of int, [nodes]
        What each node brings in, negative where it takes out; they sum to 0.

    Raises
    ------
    PlanError
        When not all supplies can reach demands.
    MissingExtra
        When OR-Tools is not installed.

    Examples
    --------
    >>> arcs = np.array([[0, 0, 1], [1, 2, 2], [1, 5, 5], [1, 5, 1]])
    >>> min_cost_flow(*arcs, np.array([3, 0, -3])).tolist()
    [1, 2, 1]
    """
    try:
        from ortools.graph.python.min_cost_flow import SimpleMinCostFlow
    except ImportError as error:
        raise missing_extra("ortools", "shop", "to find flows of least cost") from error
    solver = SimpleMinCostFlow()
    arcs = solver.add_arcs_with_capacity_and_unit_cost(tails, heads, capacities, costs)
    solver.set_nodes_supplies(np.arange(len(supplies)), supplies)
    status = solver.solve()
    if status != solver.OPTIMAL:
        raise PlanError(f"flow: all {int(supplies[supplies > 0].sum())} units must reach a demand, got {status!s}.")
    return np.asarray(solver.flows(arcs), dtype=np.int64)
