"""How many arrive when."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headway.plots.chart import Axis, Chart, Curve, Floats

BUCKETS = 200
"""Buckets over the whole time, unless a width is given."""
NICE_S = (
    1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
    14400, 21600, 43200, 86400,
)  # fmt: skip
"""Widths that people think in."""


def arrivals(
    times: Mapping[str, Floats], *, bucket_s: float | None = None, title: str = "Arrivals", of: str = "requests"
) -> Chart:
    """Draw the rate of arrivals over time.

    Parameters
    ----------
    times : dict of str to array
        Arrival times in seconds, by the name of the curve (a trace, say); in any order.
    bucket_s : float or None
        Over how long they are counted, > 0; None takes a round width that makes at most `BUCKETS`.
    title : str
        Above the chart.
    of : str
        What arrives.
    """
    known = {name: at_s for name, at_s in times.items() if len(at_s)}
    reach = max((float(at_s.max()) for at_s in known.values()), default=0.0)
    width_s = bucket_s or next((width for width in NICE_S if width * BUCKETS >= reach), reach / BUCKETS)
    shape_s, unit = (3600.0, "h") if reach > 3 * 3600 else (60.0, "min") if reach > 30 * 60 else (1.0, "s")
    curves = tuple(_curve(name, at_s, width_s, shape_s, alone=len(known) == 1) for name, at_s in known.items())
    y = Axis(f"{of} per second, over {width_s:g} s", low=0.0)
    return Chart(title, Axis("time", unit), y, curves, kind="arrivals")


def _curve(name: str, at_s: Floats, width_s: float, time_unit_s: float, *, alone: bool) -> Curve:
    start = np.floor(min(0.0, float(at_s.min())) / width_s)
    bucket = (np.floor(at_s / width_s) - start).astype(np.int64)
    rate = np.bincount(bucket) / width_s
    edges = (np.arange(len(rate) + 1) + start) * width_s
    if len(rate) > 1:
        # The last bucket lasts as long as the trace; a sliver of it says nothing about the rate.
        edges[-1] = at_s.max()
        lasted_s = edges[-1] - edges[-2]
        rate[-1] = rate[-1] * width_s / lasted_s if lasted_s > width_s / 2 else rate[-2]
    return Curve(name, edges / time_unit_s, np.append(rate, rate[-1]), shape="area" if alone else "step")
