"""What becomes of a metric as the load rises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from headway.core.scenario import Columns
from headway.plots.chart import Axis, Bound, Chart, Curve
from headway.plots.quantities import label_of, unit_of

STEEP = 30.0
"""From this ratio of the largest to the smallest value on, an axis of times is logarithmic."""


def against_load(
    metric: str,
    sweeps: Mapping[str, Columns],
    *,
    bounds: Sequence[Bound] = (),
    title: str = "",
    load_label: str = "load",
    load_unit: str = "",
    log: bool | None = None,
) -> Chart:
    """Draw a metric against the load, one curve with its confidence band per name.

    Parameters
    ----------
    metric : str
        Its name with unit: gives the axis its label and unit; a share (``"_frac"``) has an axis from 0 to 100%.
    sweeps : dict of str to columns
        By name (a policy, say): ``"load"``, ``"value"`` and, where there are intervals, ``"low"`` and ``"high"``.
    bounds : sequence of Bound
        Level lines, at values in the metric's unit: objectives.
    title : str
        Default: the metric against the load.
    load_label, load_unit : str
        What the x axis says; default a factor without a unit.
    log : bool or None
        Whether the y axis is logarithmic; None decides by how steeply a time rises.
    """
    curves = tuple(_curve(name, columns) for name, columns in sweeps.items())
    unit = unit_of(metric)
    y = Axis(label_of(metric), unit, log=_is_steep(curves, unit) if log is None else log)
    if y.log:
        curves = _above_ground(curves)
    if unit == "%":
        y = replace(y, low=0.0, high=1.02)  # a line at 100% is not cut in half
    elif not y.log:
        y = replace(y, low=0.0)
    level = tuple(replace(bound, axis="y") for bound in bounds)
    return Chart(title or f"{y.label} against {load_label}", Axis(load_label, load_unit), y, curves, level)


def _curve(name: str, columns: Columns) -> Curve:
    order = np.argsort(columns["load"], kind="stable")
    low, high = (columns[end][order] if end in columns else None for end in ("low", "high"))
    return Curve(name, columns["load"][order], columns["value"][order], low=low, high=high, marked=True)


def _above_ground(curves: tuple[Curve, ...]) -> tuple[Curve, ...]:
    """Return curves for a logarithmic axis, where bands that reach below 0 end a little below the smallest value."""
    values = np.concatenate([*(curve.y for curve in curves), np.empty(0)])
    ground = values[values > 0].min(initial=np.inf) / 2
    return tuple(
        curve if curve.low is None else replace(curve, low=np.maximum(curve.low, np.minimum(ground, curve.y)))
        for curve in curves
    )


def _is_steep(curves: Sequence[Curve], unit: str) -> bool:
    values = np.concatenate([*(curve.y for curve in curves), np.empty(0)])
    values = values[np.isfinite(values)]
    return unit == "s" and bool(len(values)) and values.min() > 0 and bool(values.max() / values.min() > STEEP)
