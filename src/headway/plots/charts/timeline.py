"""What went on over time: queue, running work, memory and power below each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headway.core.scenario import Columns
from headway.plots.chart import Axis, Bound, Chart, Panels
from headway.plots.charts.over_resources import curves_over_time
from headway.plots.quantities import label_of, unit_of

COLUMNS = ("waiting", "running", "kv_used_frac", "watts")
"""What is drawn of samples unless others are named; those that are not there are passed over."""


def timeline(
    samples: Columns,
    columns: Sequence[str] = COLUMNS,
    *,
    bounds: Mapping[str, Sequence[Bound]] | None = None,
    title: str = "Over time",
    of: str = "requests",
) -> Panels | None:
    """Draw samples over time, one panel per column and one curve per resource.

    Parameters
    ----------
    samples : columns
        As in `Outcome.samples`: ``"at_s"``, ``"resource"`` and the columns to draw.
    columns : sequence of str
        What to draw, from top to bottom; default `COLUMNS`.
    bounds : dict of str to sequence of Bound
        Level lines, by column.
    title : str
        Above all panels.
    of : str
        What counts without a unit count.

    Returns
    -------
    Panels or None
        None when nothing was sampled.
    """
    here = [column for column in columns if column in samples and len(samples[column])]
    charts = tuple(_panel(samples, column, of, tuple((bounds or {}).get(column, ()))) for column in here)
    return Panels(title, charts) if charts else None


def _panel(samples: Columns, column: str, of: str, bounds: tuple[Bound, ...]) -> Chart:
    unit = unit_of(column)
    y = Axis("" if unit == "%" else unit or of, "%" if unit == "%" else "", low=0.0, high=1.0 if unit == "%" else None)
    label = label_of(column)
    return Chart(
        label[:1].upper() + label[1:], Axis("time", "s"), y, curves_over_time(samples, column), bounds, kind="resources"
    )
