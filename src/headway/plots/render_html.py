"""Figures for a browser: what plotly.js draws, as plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from html import escape
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from headway.plots.chart import (
    NOTHING,
    Axis,
    Bars,
    Bound,
    Chart,
    Curve,
    Figure,
    Panels,
    Spans,
    extent_of,
    is_empty,
    keys_of,
    lanes_of,
    panels_of,
)
from headway.plots.palette import BOUND, Palette
from headway.plots.thinning import merge_spans, thin

MAX_POINTS = 2_000
"""Per curve; more cannot be told apart on a screen."""
PIXELS = 1_500
"""How finely spans are resolved along x."""

Trace = dict[str, Any]


def specification(figure: Figure, palette: Palette) -> dict[str, Any]:
    """Return what ``Plotly.newPlot`` takes for a figure: ``data`` and ``layout``; the title is left to the page.

    Parameters
    ----------
    figure : Chart or Panels
        What to draw.
    palette : Palette
        Who has which colour.
    """
    charts = panels_of(figure)
    named: set[str] = set()
    data = [trace for row, chart in enumerate(charts) for trace in _traces(chart, row, palette, named)]
    share_x = isinstance(figure, Panels) and figure.share_x
    return {"data": data, "layout": _layout(charts, show_legend=len(named) > 1, share_x=share_x)}


def encode(spec: dict[str, Any]) -> str:
    """Write a specification so that it can stand inside a script element."""
    text = json.dumps(spec, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _traces(chart: Chart, row: int, palette: Palette, named: set[str]) -> Iterator[Trace]:
    palette = palette.of(chart.kind)
    axes = {"xaxis": f"x{row + 1}" if row else "x", "yaxis": f"y{row + 1}" if row else "y"}
    for mark in chart.marks:
        legend = {"name": escape(mark.name), "legendgroup": escape(mark.name), "showlegend": mark.name not in named}
        named.add(mark.name)
        if isinstance(mark, Curve):
            yield from ({**trace, **axes} for trace in _curve(mark, palette, legend))
        elif isinstance(mark, Bars):
            yield {**_bars(mark, palette, legend), **axes}
        else:
            yield {**_spans(mark, extent_of(chart), palette, legend), **axes}
    yield from ({**_anchor(bound, chart), **axes} for bound in chart.bounds)


def _curve(mark: Curve, palette: Palette, legend: Trace) -> Iterator[Trace]:
    look = palette.look(keys_of(mark)[0])
    if mark.low is not None and mark.high is not None:
        yield from _band(mark, look.colour, legend)
    kept = thin(mark.y, MAX_POINTS)
    line: Trace = {"color": look.colour, "width": 2, "dash": look.dash, "shape": _line_shape(mark)}
    trace: Trace = {"type": "scatter", "x": _numbers(mark.x[kept]), "y": _numbers(mark.y[kept]), **legend}
    trace |= {"mode": _mode(mark), "line": line, "marker": {"color": look.colour, "symbol": look.marker, "size": 7}}
    if mark.shape == "dots":
        trace["marker"] |= {"size": 5, "opacity": 0.6}
    if mark.shape == "area":
        trace |= {"fill": "tozeroy", "fillcolor": _faint(look.colour, 0.25)}
        line["width"] = 1
    yield trace


def _band(mark: Curve, colour: str, legend: Trace) -> Iterator[Trace]:
    assert mark.low is not None
    assert mark.high is not None
    known = np.isfinite(mark.low) & np.isfinite(mark.high)
    shared = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", **legend, "showlegend": False}
    for edge, fill in ((mark.high, {}), (mark.low, {"fill": "tonexty", "fillcolor": _faint(colour, 0.18)})):
        kept = thin(edge[known], MAX_POINTS)
        points = {"x": _numbers(mark.x[known][kept]), "y": _numbers(edge[known][kept])}
        yield {**shared, **points, **fill, "line": {"width": 0, "color": colour, "shape": _line_shape(mark)}}


def _bars(mark: Bars, palette: Palette, legend: Trace) -> Trace:
    keys = keys_of(mark)
    colours = [palette.look(key).colour for key in keys]
    trace: Trace = {"type": "bar", "x": [escape(label) for label in mark.labels], "y": _numbers(mark.values), **legend}
    trace["marker"] = {"color": colours if mark.keys else colours[0]}
    if mark.low is not None and mark.high is not None:
        arms = {"array": _numbers(mark.high - mark.values), "arrayminus": _numbers(mark.values - mark.low)}
        trace["error_y"] = {"type": "data", "symmetric": False, "thickness": 1.5, "width": 4, "color": "#777", **arms}
    return trace


def _spans(mark: Spans, extent: float, palette: Palette, legend: Trace) -> Trace:
    start, end, lane = mark.start, mark.end, mark.lane
    if not mark.texts:
        start, end, lane = merge_spans(start, end, lane, extent / PIXELS)
    trace: Trace = {"type": "bar", "orientation": "h", "base": _numbers(start), "x": _numbers(end - start), **legend}
    trace["y"] = [escape(str(name)) for name in lane]
    trace["marker"] = {"color": palette.look(keys_of(mark)[0]).fill, "line": {"width": 0}}
    trace["hovertemplate"] = "%{y}, from %{base:.4~g} for %{x:.4~g}"
    if mark.texts:
        trace["text"] = [escape(text) for text in mark.texts]
        trace["textposition"], trace["insidetextanchor"], trace["textangle"] = "inside", "middle", 0
        trace["constraintext"] = "inside"
        trace["marker"]["line"] = {"width": 0.5, "color": "white"}
        trace["hovertemplate"] = "%{text} on %{y}, from %{base:.6~g} for %{x:.6~g}"
    return trace


def _anchor(bound: Bound, chart: Chart) -> Trace:
    """Return an unseen point on a bound, so that the axes reach it."""
    x, y = _first_point(chart)
    point = {"x": [bound.at], "y": [y]} if bound.axis == "x" else {"x": [x], "y": [bound.at]}
    unseen = {"type": "scatter", "mode": "markers", "marker": {"opacity": 0}, "hoverinfo": "skip", "showlegend": False}
    return {**unseen, **point}


def _first_point(chart: Chart) -> tuple[float | str | None, float | None]:
    for mark in chart.marks:
        if isinstance(mark, Bars) and len(mark.labels):
            return escape(mark.labels[0]), _numbers(mark.values)[0]
        if isinstance(mark, Curve) and np.isfinite(mark.y).any():
            known = np.isfinite(mark.y)
            return _numbers(mark.x[known][:1])[0], _numbers(mark.y[known][:1])[0]
    return None, None


def _layout(charts: tuple[Chart, ...], *, show_legend: bool, share_x: bool) -> dict[str, Any]:
    spans = any(isinstance(mark, Spans) for chart in charts for mark in chart.marks)
    curves = any(isinstance(mark, Curve) for chart in charts for mark in chart.marks)
    layout: dict[str, Any] = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "margin": {"l": 64, "r": 20, "t": 30, "b": 48},
        "height": _height(charts),
        "showlegend": show_legend,
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#8a8f98", "activecolor": "#0072b2"},
        "bargap": 0.35,
        "barmode": "overlay" if spans else "group",
        "hovermode": "x unified" if curves else "closest",
        "shapes": [shape for row, chart in enumerate(charts) for shape in _shapes(chart, row)],
        "annotations": [note for row, chart in enumerate(charts) for note in _notes(chart, row, len(charts))],
    }
    for row, chart in enumerate(charts):
        layout |= _axes(chart, row, len(charts), share_x=share_x)
    return layout


def _height(charts: tuple[Chart, ...]) -> int:
    if len(charts) > 1:
        return 110 + 170 * len(charts)
    lanes = lanes_of(charts[0])
    return 130 + sum(34 if place < 8 else 20 for place in range(len(lanes))) if lanes else 380


def _axes(chart: Chart, row: int, num_rows: int, *, share_x: bool) -> dict[str, Any]:
    suffix = str(row + 1) if row else ""
    last = row == num_rows - 1
    x, y = _axis(chart.x, _decades(chart, "x")), _axis(chart.y, _decades(chart, "y"))
    x |= {"anchor": f"y{suffix}"}
    if num_rows > 1:
        # The top panel first; a strip above each is left for its title.
        share = 1 / num_rows
        # Where each has an x axis of its own, there is room for its numbers and its name too.
        y |= {"domain": [1 - (row + 1) * share + (0.02 if share_x else 0.12), 1 - row * share - 0.05]}
        x |= {"matches": "x"} if row and share_x else {}
        x |= {"showticklabels": False, "title": {"text": ""}} if share_x and not last else {}
    if any(isinstance(mark, Spans) for mark in chart.marks):
        y |= {
            "type": "category",
            "autorange": "reversed",
            "categoryorder": "array",
            "categoryarray": [escape(lane) for lane in lanes_of(chart)],
        }
        y.pop("range", None)
    if any(isinstance(mark, Bars) for mark in chart.marks):
        x |= {"type": "category", "showgrid": False}
    return {f"xaxis{suffix}": x, f"yaxis{suffix}": y | {"anchor": f"x{suffix}"}}


def _axis(axis: Axis, decades: float) -> dict[str, Any]:
    out: dict[str, Any] = {
        "title": {"text": escape(axis.title), "standoff": 8},
        "automargin": True,
        "zeroline": False,
        "exponentformat": "none",
        "separatethousands": True,
    }
    if axis.log:
        # From two decades on, numbers between the powers of ten would only crowd the axis.
        out |= {"type": "log", "dtick": 1 if decades >= 2 else "D2"}
    if axis.unit == "%":
        out["tickformat"] = ".3~%"
    if axis.low is not None and axis.high is not None:
        out["range"] = [_on_axis(axis, axis.low), _on_axis(axis, axis.high)]
    else:
        ends = {"minallowed": axis.low, "maxallowed": axis.high}
        fixed = {name: _on_axis(axis, end) for name, end in ends.items() if end is not None}
        # Both: the axis reaches this end, and goes no further.
        out["autorangeoptions"] = fixed | {"include": list(fixed.values())}
    return out


def _decades(chart: Chart, name: Literal["x", "y"]) -> float:
    """Return how many powers of ten the curves span along an axis."""
    columns = [mark.x if name == "x" else mark.y for mark in chart.marks if isinstance(mark, Curve)]
    values = np.concatenate([*columns, np.empty(0)])
    values = values[np.isfinite(values) & (values > 0)]
    return math.log10(values.max() / values.min()) if len(values) else 0.0


def _shapes(chart: Chart, row: int) -> Iterator[dict[str, Any]]:
    x, y = (f"x{row + 1}", f"y{row + 1}") if row else ("x", "y")
    line = {"color": BOUND, "width": 1.5, "dash": "dash"}
    for bound in chart.bounds:
        if bound.axis == "x":
            ends = {"x0": bound.at, "x1": bound.at, "y0": 0, "y1": 1, "xref": x, "yref": f"{y} domain"}
        else:
            ends = {"x0": 0, "x1": 1, "y0": bound.at, "y1": bound.at, "xref": f"{x} domain", "yref": y}
        yield {"type": "line", "line": line, **ends}


def _notes(chart: Chart, row: int, num_rows: int) -> Iterator[dict[str, Any]]:
    x, y = (f"x{row + 1}", f"y{row + 1}") if row else ("x", "y")
    plain = {"showarrow": False, "xref": f"{x} domain", "yref": f"{y} domain", "font": {"size": 12}}
    if is_empty(chart):
        yield {**plain, "text": NOTHING, "x": 0.5, "y": 0.5}
    if num_rows > 1:
        yield {**plain, "text": f"<b>{escape(chart.title)}</b>", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    for bound in chart.bounds:
        beside = {**plain, "text": escape(bound.name), "font": {"size": 12, "color": BOUND}, "bgcolor": "#fff"}
        if bound.axis == "x":
            at = _on_axis(chart.x, bound.at)
            yield {**beside, "xref": x, "x": at, "y": 0.02, "xanchor": "left", "yanchor": "bottom", "xshift": 3}
        else:
            at = _on_axis(chart.y, bound.at)
            yield {**beside, "yref": y, "x": 1, "y": at, "xanchor": "right", "yanchor": "bottom"}


def _on_axis(axis: Axis, value: float | None) -> float | None:
    return math.log10(value) if axis.log and value is not None else value


def _mode(mark: Curve) -> str:
    return "markers" if mark.shape == "dots" else "lines+markers" if mark.marked else "lines"


def _line_shape(mark: Curve) -> str:
    return "hv" if mark.shape in {"step", "area"} else "linear"


def _faint(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _numbers(values: npt.NDArray[Any]) -> list[float | None]:
    # Eight digits are more than a screen shows, and half the size of all of them.
    return [float(f"{value:.8g}") if math.isfinite(value) else None for value in values.tolist()]
