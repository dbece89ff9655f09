"""Flows of least cost, against a linear program."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from headway.core.errors import PlanError
from headway.numerics.flow import min_cost_flow


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31))
def test_no_flow_is_cheaper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_nodes, num_arcs = 6, 18
    tails, heads = rng.integers(num_nodes, size=(2, num_arcs))
    capacities, costs = rng.integers(0, 6, num_arcs), rng.integers(0, 20, num_arcs)
    supplies = np.zeros(num_nodes, np.int64)
    supplies[0], supplies[-1] = 3, -3
    balance = np.zeros((num_nodes, num_arcs))
    np.add.at(balance, (tails, np.arange(num_arcs)), 1)
    np.add.at(balance, (heads, np.arange(num_arcs)), -1)
    found = linprog(costs, A_eq=balance, b_eq=supplies, bounds=list(zip(np.zeros(num_arcs), capacities, strict=True)))
    if not found.success:
        with pytest.raises(PlanError, match="3 units"):
            min_cost_flow(tails, heads, capacities, costs, supplies)
        return
    flows = min_cost_flow(tails, heads, capacities, costs, supplies)
    assert (flows >= 0).all()
    assert (flows <= capacities).all()
    assert (balance @ flows == supplies).all()
    assert flows @ costs == pytest.approx(found.fun)
