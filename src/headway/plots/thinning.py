"""Fewer points to draw, with every peak and every dip kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def thin(y: Floats, max_points: int) -> Ints:
    """Choose the points of a curve that are worth drawing.

    The curve is cut into buckets of equally many points; the lowest and the highest of each are kept, the first gap of
    each, and both ends of the curve.

    Parameters
    ----------
    y : array of float, `[points]`
        The values; NaN is a gap.
    max_points : int
        How many to keep at most, >= 5.

    Returns
    -------
    array of int
        Their indices, rising. All of them when there are no more than `max_points`.
    """
    if len(y) <= max_points:
        return np.arange(len(y))
    num_buckets = max(1, (max_points - 2) // 3)
    starts = np.linspace(0, len(y), num_buckets + 1).astype(np.int64)[:-1]
    kept = [_first_where(y == extreme, starts) for extreme in _extremes(y, starts)]
    gaps = _first_where(np.isnan(y), starts)
    return np.unique(np.concatenate([*kept, gaps, np.array([0, len(y) - 1])]))


def merge_spans(start: Floats, end: Floats, lane: npt.NDArray[Any], min_gap: float) -> tuple[Floats, Floats, Any]:
    """Join spans of a lane that lie closer together than can be seen.

    Parameters
    ----------
    start, end : array of float, `[spans]`
        When they begin and end.
    lane : array, `[spans]`
        Where they run.
    min_gap : float
        Gaps shorter than this are closed, >= 0, in the unit of `start`.

    Returns
    -------
    start, end, lane : arrays
        The joined spans, by lane and then by start.
    """
    order = np.lexsort((start, lane))
    start, end, lane = start[order], end[order], lane[order]
    if not len(start):
        return start, end, lane
    reach = _running_max_by_lane(end, lane)
    fresh = np.ones(len(start), dtype=bool)
    fresh[1:] = (lane[1:] != lane[:-1]) | (start[1:] - reach[:-1] >= max(min_gap, np.finfo(np.float64).tiny))
    first = np.flatnonzero(fresh)
    last = np.append(first[1:], len(start)) - 1
    return start[first], reach[last], lane[first]


def _extremes(y: Floats, starts: Ints) -> tuple[Floats, Floats]:
    lengths = np.diff(np.append(starts, len(y)))
    # fmin and fmax pass over gaps; a bucket of gaps alone has NaN for both, which equals nothing.
    return np.repeat(np.fmin.reduceat(y, starts), lengths), np.repeat(np.fmax.reduceat(y, starts), lengths)


def _first_where(chosen: npt.NDArray[np.bool_], starts: Ints) -> Ints:
    places = np.flatnonzero(chosen)
    buckets = np.searchsorted(starts, places, side="right")
    return places[np.unique(buckets, return_index=True)[1]]


def _running_max_by_lane(end: Floats, lane: npt.NDArray[Any]) -> Floats:
    out = end.copy()
    bounds = np.flatnonzero(np.append(True, lane[1:] != lane[:-1]))
    for low, high in zip(bounds, np.append(bounds[1:], len(end)), strict=True):
        out[low:high] = np.maximum.accumulate(end[low:high])
    return out
