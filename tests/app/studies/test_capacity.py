from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.app.studies.capacity import largest_load
from headway.app.studies.trial import Verdict
from headway.core.errors import ConfigError


def verdict(passed: bool) -> Verdict:
    return Verdict(
        passed=passed, good_frac=float(passed), whole=True, num_runs=1, rate_per_s=1.0, numbers={}, wall_s=0.0
    )


@given(truth=st.floats(0.01, 7.9), start=st.floats(0.5, 4), tolerance_frac=st.floats(0.005, 0.5))
def test_the_largest_load_is_found_within_the_tolerance(truth: float, start: float, tolerance_frac: float) -> None:
    found = largest_load(lambda load: verdict(load <= truth), start=start, tolerance_frac=tolerance_frac)
    assert found.load is not None
    assert found.fails_at is not None
    assert found.load <= truth < found.fails_at
    assert found.fails_at / found.load - 1 <= tolerance_frac
    assert found.best is not None
    assert found.best.passed
    bracket = 2 + abs(math.log2(truth / start))
    assert len(found.points) <= bracket + math.log2(math.log(2) / math.log1p(tolerance_frac)) + 2


def test_ten_points_are_enough_for_two_percent() -> None:
    assert all(len(largest_load(lambda load, t=t: verdict(load <= t)).points) <= 10 for t in (0.3, 0.9, 1.7, 3.3, 7.0))


def test_a_load_that_nothing_breaks_is_said_to_be_at_least() -> None:
    found = largest_load(lambda load: verdict(True), max_load=5.0)
    assert (found.load, found.fails_at) == (5.0, None)
    assert [point.load for point in found.points] == [1.0, 2.0, 4.0, 5.0]


def test_nothing_passes() -> None:
    found = largest_load(lambda load: verdict(False))
    assert (found.load, found.best) == (None, None)
    assert found.fails_at == pytest.approx(2**-10)


@pytest.mark.parametrize("name", ["start", "max_load", "tolerance_frac"])
def test_numbers_must_make_sense(name: str) -> None:
    with pytest.raises(ConfigError, match="must be > 0"):
        largest_load(lambda load: verdict(True), **{name: 0.0})
