from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.numerics.linear import LinearProgram


def test_the_best_of_a_knapsack_in_parts_and_whole() -> None:
    for whole, best in ((False, 1 + 0.5), (True, 1.0)):
        program = LinearProgram(np.ones(2), np.ones(2), whole=whole)
        program.bound([0, 1], [1.0, 2.0], 2.0)
        value, point = program.solve()
        assert value == pytest.approx(best)
        assert point @ np.array([1.0, 2.0]) <= 2.0 + 1e-9


def test_equalities_hold() -> None:
    program = LinearProgram(np.array([1.0, 0.0]), np.full(2, 5.0))
    program.fix([0, 1], [1.0, 1.0], 3.0)
    program.bound([0], [1.0], 2.0)
    value, point = program.solve()
    assert value == pytest.approx(2.0)
    assert point.sum() == pytest.approx(3.0)
    assert program.num_rows == 2


def test_nothing_to_choose_is_nothing_to_gain() -> None:
    assert LinearProgram(np.empty(0), np.empty(0)).solve()[0] == 0.0


def test_what_cannot_be_is_an_error() -> None:
    program = LinearProgram(np.ones(1), np.ones(1))
    program.bound([0], [-1.0], -2.0)
    with pytest.raises(ConfigError, match="some point must satisfy"):
        program.solve()
