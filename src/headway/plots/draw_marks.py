"""How matplotlib draws each kind of mark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headway.plots.chart import Axis, Bars, Curve, Spans, keys_of
from headway.plots.palette import Look, Palette
from headway.plots.thinning import merge_spans, thin

INK = "#24282e"
"""The colour of text and of nothing else."""
MAX_POINTS = 3_000
PIXELS = 2_000
_WIDTH_OF_LETTER = 0.008
"""Of a text in a span, as a share of the width of the axes."""
CROWDED = 400
"""More points than this would run into a thick line."""

_DASHES: dict[str, Any] = {"solid": "-", "dash": (0, (5, 2)), "dot": (0, (1, 1.5)), "dashdot": (0, (5, 2, 1, 2))}
_MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "cross": "P", "x": "X", "triangle-down": "v",
}  # fmt: skip


def draw_curve(axes: Any, mark: Curve, palette: Palette) -> None:
    """Draw a line, steps, dots or an area, and the band around it."""
    look = palette.look(keys_of(mark)[0])
    step = "post" if mark.shape in {"step", "area"} else None
    if mark.low is not None and mark.high is not None:
        kept = np.union1d(thin(mark.low, MAX_POINTS), thin(mark.high, MAX_POINTS))
        edges = (mark.x[kept], mark.low[kept], mark.high[kept])
        axes.fill_between(*edges, step=step, color=look.colour, alpha=0.16, linewidth=0)
    kept = thin(mark.y, MAX_POINTS)
    x, y = mark.x[kept], mark.y[kept]
    if mark.shape == "dots":
        axes.plot(x, y, ".", color=look.colour, alpha=0.6, markersize=4, label=mark.name, rasterized=len(x) > 500)
        return
    if mark.shape == "area":
        axes.fill_between(x, 0, y, step=step, color=look.colour, alpha=0.22, linewidth=0)
    axes.plot(x, y, label=mark.name, **_line(look, mark))


def draw_bars(axes: Any, mark: Bars, palette: Palette, place: int, num_groups: int) -> None:
    """Draw one bar per label, `place` in each group of `num_groups`."""
    width = 0.76 / num_groups
    centres = np.arange(len(mark.labels)) + (place - (num_groups - 1) / 2) * width
    colours = [palette.look(key).colour for key in keys_of(mark)]
    # Few bars would become walls.
    width = min(width, 0.12 * max(len(mark.labels), 1) + 0.1)
    axes.bar(centres, mark.values, width * 0.94, color=colours if mark.keys else colours[0], label=mark.name)
    if mark.low is not None and mark.high is not None:
        arms = np.maximum(np.stack([mark.values - mark.low, mark.high - mark.values]), 0)
        axes.errorbar(centres, mark.values, yerr=arms, fmt="none", ecolor=INK, elinewidth=1.1, capsize=3)
    axes.set_xlim(-0.6, len(mark.labels) - 0.4)


def draw_spans(axes: Any, mark: Spans, lanes: list[str], palette: Palette, extent: float) -> None:
    """Draw spans, each in its lane, on an axis that reaches so far."""
    colour = palette.look(keys_of(mark)[0]).fill
    start, end, lane = mark.start, mark.end, mark.lane
    if not mark.texts:
        reach = float(end.max() - start.min()) if len(start) else 0.0
        start, end, lane = merge_spans(start, end, lane, reach / PIXELS)
    place = {name: float(row) for row, name in enumerate(lanes)}
    rows = np.array([place[str(name)] for name in lane])
    ink = INK if sum(int(colour[n : n + 2], 16) for n in (1, 3, 5)) > 330 else "white"
    edge = {"edgecolor": "white", "linewidth": 0.4} if mark.texts else {"linewidth": 0}
    axes.barh(rows, end - start, left=start, height=0.62, color=colour, label=mark.name, **edge)
    for text, row, low, high in zip(mark.texts, rows, start, end, strict=False):
        if high - low > _WIDTH_OF_LETTER * len(text) * extent:  # else it would stand over its neighbours
            axes.text((low + high) / 2, row, text, ha="center", va="center", fontsize=6.5, color=ink, clip_on=True)


def tick_text(axis: Axis) -> Callable[[float, int | None], str]:
    """Return what writes the numbers at the ticks of an axis."""
    if axis.unit == "%":
        return lambda value, _: f"{value * 100:.6g}%"
    return lambda value, _: (f"{value:,.6g}" if abs(value) < 1e9 else f"{value:.4g}").replace("-", "−")


def _line(look: Look, mark: Curve) -> dict[str, Any]:
    style = "steps-post" if mark.shape in {"step", "area"} else "default"
    line: dict[str, Any] = {"color": look.colour, "linestyle": _DASHES[look.dash], "drawstyle": style}
    if mark.shape == "area" or len(mark.x) > CROWDED:
        line["linewidth"] = 1.2
    if mark.marked:
        line |= {"marker": _MARKERS[look.marker], "markersize": 4.5, "markeredgewidth": 0}
    return line
