"""One metric of several runs side by side, with the intervals that say what the difference is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from headway.plots.chart import Axis, Bars, Bound, Chart, Floats
from headway.plots.quantities import label_of, scale_of, unit_of
from headway.plots.tables import Amount


def compare(metric: str, amounts: Mapping[str, Amount], *, bounds: Sequence[Bound] = (), title: str = "") -> Chart:
    """Draw one bar per name, in the colour of that name.

    Parameters
    ----------
    metric : str
        Its name with unit: gives the axis its label and unit.
    amounts : dict of str to Amount
        The value and its interval, by name (a policy, say), in the metric's unit.
    bounds : sequence of Bound
        Level lines, at values in the metric's unit: objectives.
    title : str
        Default: the metric.
    """
    unit = unit_of(metric)
    values = np.array([amount.value for amount in amounts.values()], dtype=np.float64)
    known = values[np.isfinite(values)]
    factor, name = (1.0, unit) if unit == "%" or not len(known) else scale_of(float(np.abs(known).max()), unit)
    low, high = (_ends(amounts, end) for end in ("low", "high"))
    names = tuple(amounts)
    bars = Bars(label_of(metric), names, values / factor, low / factor, high / factor, keys=names)
    y = Axis(label_of(metric), name, low=0.0 if not (known < 0).any() else None)
    level = tuple(replace(bound, at=bound.at / factor, axis="y") for bound in bounds)
    return Chart(title or y.label, Axis(), y, (bars,), level)


def _ends(amounts: Mapping[str, Amount], end: str) -> Floats:
    # Without an interval, the value is its own.
    ends = ((getattr(amount, end), amount.value) for amount in amounts.values())
    return np.array([value if given is None else given for given, value in ends], dtype=np.float64)
