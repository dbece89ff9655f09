"""What runs side by side slows each other down by what it reads, and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.sim.serving.side_by_side import ends_of_two, slowed

alone = st.tuples(st.floats(1e-3, 1.0), st.floats(0.0, 1.0))


def test_who_reads_little_is_not_disturbed() -> None:
    assert slowed([(2.0, 0.4), (3.0, 0.6)]) == [2.0, 3.0]
    assert ends_of_two((2.0, 0.4), (3.0, 0.6)) == (2.0, 3.0)


def test_too_many_reads_slow_down_those_who_read() -> None:
    assert slowed([(2.0, 0.8), (3.0, 0.0), (1.0, 0.7)]) == pytest.approx([2.8, 3.0, 1.35])
    assert ends_of_two((2.0, 0.8), (1.0, 0.7)) == pytest.approx((1.35 + (1 - 1.35 / 2.8) * 2.0, 1.35))


def test_meeting_in_caches_disturbs_before_the_bandwidth_is_used_up() -> None:
    assert slowed([(1.0, 0.5), (1.0, 0.2)], disturb_frac=0.5) == pytest.approx([1.05, 1.05])


@given(first=alone, second=alone, disturb=st.floats(0.0, 1.0))
def test_nobody_is_faster_than_alone_nor_slower_than_beside_the_other_to_the_end(
    first: tuple[float, float], second: tuple[float, float], disturb: float
) -> None:
    ends, most = ends_of_two(first, second, disturb), slowed((first, second), disturb)
    for end_s, (alone_s, _), most_s in zip(ends, (first, second), most, strict=True):
        assert alone_s * (1 - 1e-9) <= end_s <= most_s * (1 + 1e-9)
    assert ends == pytest.approx(ends_of_two(second, first, disturb)[::-1])
