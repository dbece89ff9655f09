from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headway.plots.thinning import merge_spans, thin

VALUES = arrays(np.float64, st.integers(1, 400), elements=st.floats(-1e6, 1e6) | st.just(float("nan")))


@given(VALUES, st.integers(5, 60))
def test_thinning_keeps_ends_order_and_extremes(y: np.ndarray, most: int) -> None:
    kept = thin(y, most)
    assert len(kept) <= max(most, 5)
    assert (np.diff(kept) > 0).all()
    assert kept[0] == 0
    assert kept[-1] == len(y) - 1
    if np.isfinite(y).any():
        assert np.nanmin(y[kept]) == np.nanmin(y)
        assert np.nanmax(y[kept]) == np.nanmax(y)
    assert np.isnan(y[kept]).any() == np.isnan(y).any()


@given(VALUES, st.integers(5, 60))
def test_every_stretch_keeps_its_own_peak(y: np.ndarray, most: int) -> None:
    kept = thin(y, most)
    if len(kept) == len(y):
        return
    # Between two peaks of the whole there are peaks of the parts: no stretch of the curve goes unseen.
    stretches = np.array_split(np.arange(len(y)), max(1, (most - 2) // 3))
    width = max(map(len, stretches))
    assert np.diff(kept).max() <= 2 * (width + 1)


def test_a_short_curve_is_left_alone() -> None:
    assert thin(np.array([3.0, 1.0, 2.0]), 5).tolist() == [0, 1, 2]
    assert thin(np.empty(0), 5).tolist() == []


SPANS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 30), st.integers(0, 2)), max_size=60)


@given(SPANS, st.integers(0, 10))
def test_merged_spans_cover_the_same_and_close_only_small_gaps(spans: list[tuple[int, int, int]], gap: int) -> None:
    start = np.array([a for a, _, _ in spans], dtype=np.float64)
    end = start + np.array([d for _, d, _ in spans], dtype=np.float64)
    lane = np.array([f"lane-{x}" for _, _, x in spans], dtype=str)
    low, high, where = merge_spans(start, end, lane, float(gap))
    for name in set(lane.tolist()):
        mine = where == name
        assert (low[mine][1:] - high[mine][:-1] >= max(gap, 1e-300)).all()
        for a, b in zip(start[lane == name], end[lane == name], strict=True):
            assert ((low[mine] <= a) & (high[mine] >= b)).any()
        edges = set(start[lane == name]) | set(end[lane == name])
        assert set(low[mine]) | set(high[mine]) <= edges


def test_spans_of_other_lanes_do_not_join() -> None:
    low, high, where = merge_spans(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array(["a", "b"]), 5.0)
    assert (low.tolist(), high.tolist(), where.tolist()) == ([0.0, 1.0], [1.0, 2.0], ["a", "b"])
