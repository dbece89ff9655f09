"""How a metric is distributed: which share of the work had at most so much of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from headway.core.scenario import Outcome
from headway.plots.chart import Axis, Bound, Chart, Curve, Floats
from headway.plots.quantities import label_of, scale_of, unit_of

FEW = 4_000
"""Values of a distribution that are kept: the very lowest and highest, and the quantiles between."""
WIDE = 30.0
"""From this ratio of the largest value to the median on, an axis is logarithmic."""


def cdf(
    metric: str,
    values: Mapping[str, npt.NDArray[Any]],
    *,
    bounds: Sequence[Bound] = (),
    title: str = "",
    of: str = "requests",
    log: bool | None = None,
    kind: str = "",
) -> Chart:
    """Draw the distribution of a metric, one curve per name.

    Parameters
    ----------
    metric : str
        Its name with unit, for example ``"ttft_s"``: gives the axis its label and unit.
    values : dict of str to array
        One value per work, by the name of the curve (a policy, say); values that do not exist (NaN) are left out.
    bounds : sequence of Bound
        Upright lines, at values in the metric's unit: objectives.
    title : str
        Default: the metric.
    of : str
        What is counted; default ``"requests"``.
    log : bool or None
        Whether the axis is logarithmic; None decides by how wide the distribution is.
    kind : str
        What the names are, when they are not what a report compares; see `Chart`.
    """
    known = {name: np.sort(column[np.isfinite(column)].astype(np.float64)) for name, column in values.items()}
    merged = np.concatenate([*known.values(), np.empty(0)])
    factor, unit = _scale(merged, unit_of(metric))
    curves = tuple(_curve(name, column / factor) for name, column in known.items() if len(column))
    x = Axis(label_of(metric), unit, log=_is_wide(merged) if log is None else log)
    y = Axis(f"share of {of}", "%", low=0.0, high=1.0)
    return Chart(
        title or x.label, x, y, curves, tuple(replace(b, at=b.at / factor, axis="x") for b in bounds), kind=kind
    )


def cdf_of_outcomes(
    metric: str, outcomes: Mapping[str, Sequence[Outcome]], *, bounds: Sequence[Bound] = (), title: str = ""
) -> Chart:
    """Draw the distribution of a metric over everything that ended, the runs of a name put together.

    Parameters
    ----------
    metric : str
        A column of `Outcome.works`.
    outcomes : dict of str to sequence of Outcome
        The runs of each name, for example one per seed.
    bounds, title
        See `cdf`.
    """
    values = {
        name: np.concatenate([run.works.get(metric, np.empty(0)) for run in [*runs]] or [np.empty(0)])
        for name, runs in outcomes.items()
    }
    return cdf(metric, values, bounds=bounds, title=title)


def _curve(name: str, ordered: Floats) -> Curve:
    share = np.arange(1, len(ordered) + 1) / len(ordered)
    # From the first value on; steps begin on the ground.
    x, y = np.append(ordered[:1], ordered), np.append(0.0, share)
    if len(x) > FEW:
        kept = np.unique(
            np.concatenate([np.arange(50), np.linspace(0, len(x) - 1, FEW), np.arange(len(x) - 50, len(x))])
        )
        x, y = x[kept.astype(np.int64)], y[kept.astype(np.int64)]
    return Curve(name, x, y, shape="step")


def _scale(values: Floats, unit: str) -> tuple[float, str]:
    # Shares stay shares: their axis writes the percent signs.
    return (1.0, unit) if unit == "%" or not len(values) else scale_of(float(np.quantile(values, 0.99)), unit)


def _is_wide(values: Floats) -> bool:
    if not len(values) or values.min() <= 0:
        return False
    return bool(values.max() / np.median(values) > WIDE)
