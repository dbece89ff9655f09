"""How full the memory was, of several runs in one chart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from headway.core.scenario import Columns
from headway.plots.chart import Axis, Bound, Chart
from headway.plots.charts.over_resources import curves_over_time


def occupancy(
    samples: Mapping[str, Columns], column: str = "kv_used_frac", *, title: str = "KV memory in use", full: str = ""
) -> Chart:
    """Draw the share of memory in use over time, one curve per run: the mean over its resources.

    A single run has a band around it, from the emptiest resource to the fullest.

    Parameters
    ----------
    samples : dict of str to columns
        As in `Outcome.samples`, by the name of the run (a policy, say).
    column : str
        A share from 0 to 1; default ``"kv_used_frac"``.
    title : str
        Above the chart.
    full : str
        What a line at 100% is called; empty for no line.
    """
    drawn = {name: columns for name, columns in samples.items() if column in columns}
    curves = tuple(curve for name, columns in drawn.items() for curve in curves_over_time(columns, column, key=name))
    if len(drawn) > 1:  # bands over each other hide everything
        curves = tuple(replace(curve, low=None, high=None) for curve in curves)
    bounds = (Bound(full, 1.0, "y"),) if full else ()
    return Chart(title, Axis("time", "s"), Axis("in use", "%", low=0.0, high=1.02), curves, bounds)
