from __future__ import annotations

import sys
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import MissingExtra
from headway.numerics.spreading import least_level

ONE = {0: 1.0, 1: 1.0}
NONE = {0: 0.0, 1: 0.0}


def test_a_piece_is_split_to_even_things_out() -> None:
    assert least_level([[{0: 6.0}, {1: 3.0}]], ONE, NONE) == pytest.approx(2.0)
    assert least_level([], ONE, NONE) == 0.0


def test_a_place_that_begins_later_or_works_faster_counts_so() -> None:
    assert least_level([[{0: 4.0}]], {0: 2.0}, {0: 3.0}) == pytest.approx(5.0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5))
def test_no_way_of_spreading_beats_it(loads: list[tuple[int, int]]) -> None:
    bound = least_level([[{0: float(a)}, {1: float(b)}] for a, b in loads], ONE, NONE)
    levels = []
    for ways in product((0, 1), repeat=len(loads)):
        sums = [sum(load[way] for load, way in zip(loads, ways, strict=True) if way == place) for place in (0, 1)]
        levels.append(max(sums))
    assert bound <= min(levels) + 1e-6


def test_without_the_library_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.linear_solver.pywraplp", None)
    with pytest.raises(MissingExtra, match=r"headway\[shop\]"):
        least_level([[{0: 1.0}]], ONE, NONE)
