"""Figures in words and in rows, for those who cannot see them and for those who want the numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headway.plots.chart import NOTHING, Axis, Bars, Chart, Curve, Figure, Mark, Spans, panels_of
from headway.plots.quantities import number, quantity
from headway.plots.tables import Amount, Cell, Table
from headway.plots.thinning import thin

MAX_ROWS = 60
"""Rows per curve in a table of what is plotted; peaks, dips and both ends are among them."""


def words(figure: Figure) -> str:
    """Return one sentence per panel that says what it shows."""
    return " ".join(chart.about or _about(chart) for chart in panels_of(figure))


def data_tables(figure: Figure) -> list[Table]:
    """Return what is plotted as tables, one per panel, thinned out to at most `MAX_ROWS` rows per mark."""
    return [_table(chart) for chart in panels_of(figure) if chart.marks]


def _about(chart: Chart) -> str:
    marks = "; ".join(_about_mark(mark, chart) for mark in chart.marks) or NOTHING
    bounds = "".join(f"; bound {bound.name} at {number(bound.at)}" for bound in chart.bounds)
    return f"{chart.title}: {marks}{bounds}."


def _about_mark(mark: Mark, chart: Chart) -> str:
    if isinstance(mark, Spans):
        return f"{mark.name}, {number(len(mark.start))} spans"
    values = mark.y if isinstance(mark, Curve) else mark.values
    known = values[np.isfinite(values)]
    if not len(known):
        return f"{mark.name}, no values"
    return f"{mark.name}, from {quantity(known.min(), chart.y.unit)} to {quantity(known.max(), chart.y.unit)}"


def _table(chart: Chart) -> Table:
    rows = [row for mark in chart.marks for row in _rows(mark, chart)]
    if any(isinstance(mark, Spans) for mark in chart.marks):
        return Table(["what", "where", "from", "to"], rows, chart.title)
    titles = [chart.x.label or "x", chart.y.label or "y"]
    return Table(["what", *titles, "low", "high"], rows, chart.title)


def _rows(mark: Mark, chart: Chart) -> Iterator[list[Cell]]:
    if isinstance(mark, Spans):
        for place in range(min(MAX_ROWS, len(mark.start))):
            ends = (_amount(chart.x, value) for value in (mark.start[place], mark.end[place]))
            yield [mark.name, str(mark.lane[place]), *ends]
    elif isinstance(mark, Bars):
        for place, label in enumerate(mark.labels):
            yield [mark.name, label, _amount(chart.y, mark.values[place]), *_interval(mark, chart, place)]
    else:
        for place in thin(mark.y, MAX_ROWS).tolist():
            point = (_amount(chart.x, mark.x[place]), _amount(chart.y, mark.y[place]))
            yield [mark.name, *point, *_interval(mark, chart, place)]


def _interval(mark: Curve | Bars, chart: Chart, place: int) -> Iterator[Cell]:
    yield from (None if end is None else _amount(chart.y, end[place]) for end in (mark.low, mark.high))


def _amount(axis: Axis, value: float) -> Amount:
    return Amount(float(value), axis.unit, digits=4)
