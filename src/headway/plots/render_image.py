"""Figures as image files, drawn by matplotlib."""

from __future__ import annotations

import io
import re
from math import log as ln
from pathlib import Path
from typing import Any

from headway.core.errors import ConfigError
from headway.core.writing import replacing
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
    lanes_of,
    panels_of,
)
from headway.plots.draw_marks import INK, draw_bars, draw_curve, draw_spans, tick_text
from headway.plots.libraries import library
from headway.plots.palette import BOUND, Palette

IMAGE_SUFFIXES = (".png", ".svg", ".pdf")
WIDTH_IN = 7.2
"""Width of every figure, in inches: that of a page's text."""

PAPER = "#fefefd"
"""The colour of what clears the ground under text, and of nothing else."""

_BOUND_LINE: dict[str, Any] = {"color": BOUND, "linewidth": 1.2, "linestyle": (0, (5, 3)), "zorder": 3}
_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"], "font.size": 9.5, "axes.titlesize": 9.5, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#8a8f98",
    "axes.labelcolor": INK, "axes.axisbelow": True, "axes.grid": True, "grid.color": "#b4bac2", "grid.alpha": 0.35,
    "grid.linewidth": 0.7, "xtick.color": "#8a8f98", "ytick.color": "#8a8f98", "xtick.labelcolor": INK,
    "ytick.labelcolor": INK, "text.color": INK, "lines.linewidth": 1.8, "lines.solid_capstyle": "round",
    "legend.frameon": False, "svg.fonttype": "none", "pdf.fonttype": 42, "figure.dpi": 100, "axes.unicode_minus": True,
    "text.parse_math": False,  # a dollar in a name is a dollar
}  # fmt: skip


def write_image(figure: Figure, path: Path | str, palette: Palette | None = None) -> None:
    """Draw a figure into a file: whole, or not at all.

    Parameters
    ----------
    figure : Chart or Panels
        What to draw.
    path : Path
        Where to; its suffix, one of `IMAGE_SUFFIXES`, says what kind of file it becomes.
    palette : Palette or None
        Who has which colour; None gives them in the order of the marks. Share one among figures that belong together.

    Raises
    ------
    ConfigError
        When the suffix is another one, or the folder does not exist.
    MissingExtra
        When matplotlib is not installed.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in IMAGE_SUFFIXES:
        raise ConfigError(f"{path}: must end in {', '.join(IMAGE_SUFFIXES)}, got {kind!r}. Name it {path.stem}.png.")
    with replacing(path) as beside:
        beside.write_bytes(_drawn(figure, palette or Palette(), kind[1:]))


def svg_of(figure: Figure, palette: Palette, name: str) -> str:
    """Return a figure as an SVG element for a page; its ink is the text colour around it.

    Parameters
    ----------
    figure : Chart or Panels
        What to draw.
    palette : Palette
        Who has which colour.
    name : str
        What the names inside begin with, so that several figures can stand on one page.
    """
    text = _drawn(figure, palette, "svg", titled=False).decode()
    svg = (
        text[text.index("<svg") :]
        .replace(INK, "currentColor")
        .replace(PAPER, "var(--paper)")
        .replace("<svg ", '<svg class="still" ', 1)
    )
    # Fonts are the page's, and no metadata: it holds addresses elsewhere.
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r'(id="|url\(#|href="#)', rf"\1{name}-", svg)


def _drawn(figure: Figure, palette: Palette, kind: str, *, titled: bool = True) -> bytes:
    matplotlib = library("matplotlib", "to draw images")
    out = io.BytesIO()
    # A fixed salt and no date: the same figure gives the same bytes.
    style = {**_STYLE, "svg.hashsalt": "headway"}
    stamps = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with matplotlib.rc_context(style):
        sheet = _sheet(figure, palette, titled=titled)
        sheet.savefig(out, format=kind, dpi=160, metadata=stamps.get(kind), transparent=kind == "svg" and not titled)
    return out.getvalue()


def _sheet(figure: Figure, palette: Palette, *, titled: bool) -> Any:
    charts = panels_of(figure)
    # A figure of its own, outside pyplot: nothing global is touched, and no window can open.
    figures = library("matplotlib.figure", "to draw images")
    sheet = figures.Figure(figsize=(WIDTH_IN, _height_in(charts)), layout="constrained")
    share_x = isinstance(figure, Panels) and figure.share_x
    rows = sheet.subplots(len(charts), 1, sharex=share_x, squeeze=False)[:, 0]
    for axes, chart in zip(rows, charts, strict=True):
        _draw(axes, chart, palette)
        if len(charts) > 1:
            axes.set_title(chart.title)
        if share_x:
            axes.label_outer()
    if titled:
        sheet.suptitle(figure.title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    _legend(sheet, rows)
    return sheet


def _draw(axes: Any, chart: Chart, palette: Palette) -> None:
    _scale(axes, chart)
    palette = palette.of(chart.kind)
    bars = [mark for mark in chart.marks if isinstance(mark, Bars)]
    for place, mark in enumerate(chart.marks):
        if isinstance(mark, Curve):
            draw_curve(axes, mark, palette)
        elif isinstance(mark, Bars):
            draw_bars(axes, mark, palette, place, len(bars))
        else:
            draw_spans(axes, mark, lanes_of(chart), palette, extent_of(chart))
    for bound in chart.bounds:
        (axes.axvline if bound.axis == "x" else axes.axhline)(bound.at, **_BOUND_LINE)
    _dress(axes, chart)
    for bound in chart.bounds:
        _name_bound(axes, bound)
    if is_empty(chart):
        middle = {"ha": "center", "va": "center", "color": "#8a8f98"}
        axes.text(0.5, 0.5, NOTHING, transform=axes.transAxes, **middle)


def _scale(axes: Any, chart: Chart) -> None:
    for axis, set_scale, lines in (
        (chart.x, axes.set_xscale, axes.xaxis),
        (chart.y, axes.set_yscale, axes.yaxis),
    ):
        if axis.log:
            set_scale("log")
        lines.set_major_formatter(tick_text(axis))
        if axis.log:
            lines.set_minor_formatter(library("matplotlib.ticker", "to draw images").NullFormatter())


def _dress(axes: Any, chart: Chart) -> None:
    axes.set_xlabel(chart.x.title)
    axes.set_ylabel(chart.y.title)
    axes.set_xlim(*_ends(chart.x, axes.get_xlim()))
    kinds = {type(mark) for mark in chart.marks}
    if Spans in kinds:
        lanes = lanes_of(chart)
        axes.set_yticks(range(len(lanes)), lanes)
        axes.set_ylim(len(lanes) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        return
    axes.set_ylim(*_ends(chart.y, axes.get_ylim()))
    if Bars in kinds:
        _name_bars(axes, next(mark for mark in chart.marks if isinstance(mark, Bars)).labels)


def _name_bars(axes: Any, labels: tuple[str, ...]) -> None:
    crowded = max(map(len, labels), default=0) * len(labels) > 70
    turned = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(range(len(labels)), labels, **turned)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")


def _ends(axis: Axis, drawn: tuple[float, float]) -> tuple[float, float]:
    return (drawn[0] if axis.low is None else axis.low, drawn[1] if axis.high is None else axis.high)


def _name_bound(axes: Any, bound: Bound) -> None:
    halo = library("matplotlib.patheffects", "to draw images").withStroke(linewidth=3, foreground=PAPER)
    note: dict[str, Any] = {
        "path_effects": [halo],
        "color": BOUND,
        "fontsize": 8.5,
        "textcoords": "offset points",
        "zorder": 4,
    }
    if bound.axis == "x":
        right = _share(axes.get_xlim(), bound.at, log=axes.get_xscale() == "log") > 0.75
        side = {"ha": "right", "xytext": (-4, 4)} if right else {"ha": "left", "xytext": (4, 4)}
        axes.annotate(bound.name, (bound.at, 0), xycoords=("data", "axes fraction"), va="bottom", **side, **note)
    else:
        place = {"xycoords": ("axes fraction", "data"), "xytext": (-4, 3), "ha": "right", "va": "bottom"}
        axes.annotate(bound.name, (1, bound.at), **place, **note)


def _share(ends: tuple[float, float], at: float, *, log: bool) -> float:
    if log:
        ends, at = (ln(ends[0]), ln(ends[1])), ln(at)
    return (at - ends[0]) / ((ends[1] - ends[0]) or 1.0)


def _legend(sheet: Any, rows: Any) -> None:
    handles: dict[str, Any] = {}
    for axes in rows:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if len(handles) > 1:
        ncols = max(1, min(len(handles), 86 // (max(map(len, handles)) + 6)))
        sheet.legend(list(handles.values()), list(handles), loc="outside lower left", ncols=ncols, fontsize=9)


def _height_in(charts: tuple[Chart, ...]) -> float:
    if len(charts) > 1:
        return 0.8 + 1.55 * len(charts)
    lanes = lanes_of(charts[0])
    return 1.4 + sum(0.34 if place < 8 else 0.2 for place in range(len(lanes))) if lanes else 4.0
