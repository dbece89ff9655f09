"""What ran when on which resource."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headway.core.scenario import Columns
from headway.plots.chart import Axis, Chart, Spans, natural_order

Array = npt.NDArray[Any]

MAX_LANES = 32
"""Lanes that can be read below each other."""
MAX_NAMES = 7
"""Names that can be told apart by colour; the rest are drawn as one."""


def gantt(
    spans: Columns, *, window_s: tuple[float, float] | None = None, title: str = "What ran where", other: str = "other"
) -> Chart:
    """Draw spans, one lane per resource and one colour per name.

    Parameters
    ----------
    spans : columns
        As in `Outcome.spans`: ``"start_s"``, ``"end_s"``, ``"resource"``, ``"name"``.
    window_s : (float, float) or None
        From when to when, in seconds; None for all of it.
    title : str
        Above the chart; says when only the first `MAX_LANES` resources are shown.
    other : str
        Name of what is drawn together when there are more than `MAX_NAMES` names: those that ran least.
    """
    start, end, lane, name = (np.asarray(spans[column]) for column in ("start_s", "end_s", "resource", "name"))
    low, high = window_s or (-np.inf, np.inf)
    lanes = natural_order(np.unique(lane).astype(str).tolist())
    rows = np.flatnonzero((end > low) & (start < high) & np.isin(lane, lanes[:MAX_LANES]))
    start, end, lane = np.maximum(start[rows], low), np.minimum(end[rows], high), lane[rows]
    shown = _names(name[rows], end - start, other)
    ranked = sorted(_by_time(shown, end - start), key=lambda each: each == other)  # what has no name of its own is last
    marks = tuple(_spans(str(each), shown == each, start, end, lane) for each in ranked)
    left_out = f" (the first {MAX_LANES} of {len(lanes)} resources)" if len(lanes) > MAX_LANES else ""
    return Chart(title + left_out, Axis("time", "s"), Axis(), marks, kind="spans")


def _spans(name: str, chosen: Array, start: Array, end: Array, lane: Array) -> Spans:
    return Spans(name, start[chosen], end[chosen], lane[chosen])


def _names(name: Array, took: Array, other: str) -> Array:
    ranked = _by_time(name, took)
    if len(ranked) <= MAX_NAMES:
        return name
    return np.where(np.isin(name, ranked[: MAX_NAMES - 1]), name, other)


def _by_time(name: Array, took: Array) -> list[str]:
    names, code = np.unique(name, return_inverse=True)
    total = np.bincount(code, weights=took, minlength=len(names))
    return [str(names[place]) for place in np.argsort(-total, kind="stable")]
