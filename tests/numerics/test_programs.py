"""Mixed-integer programs with known answers."""

from __future__ import annotations

import pytest

from headway.core.errors import PlanError
from headway.numerics.programs import Program


def test_a_knapsack() -> None:
    """Weights 5, 4, 3 and values 10, 7, 6 in a knapsack of 8: the first and the last."""
    program = Program()
    taken = [program.variable(-value, binary=True) for value in (10.0, 7.0, 6.0)]
    program.at_least(-8.0, *((one, -weight) for one, weight in zip(taken, (5.0, 4.0, 3.0), strict=True)))
    assert [round(value) for value in program.solve()] == [1, 0, 1]


def test_a_term_may_come_twice() -> None:
    program = Program()
    only = program.variable(1.0)
    program.at_least(6.0, (only, 1.0), (only, 2.0))
    assert program.solve()[only] == pytest.approx(2.0)


def test_no_answer_is_an_error() -> None:
    program = Program()
    only = program.variable(1.0, binary=True)
    program.at_least(2.0, (only, 1.0))
    with pytest.raises(PlanError, match="program: must have an answer"):
        program.solve()
