"""Samples of many resources as curves over time: one each where they can be told apart, else their mean and range."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headway.core.scenario import Columns
from headway.plots.chart import Curve, Floats, natural_order

SEVERAL = 6
"""More resources than this are drawn as one curve and a band."""
INSTANTS = 1_000
"""Instants at which many resources are put together."""


def curves_over_time(samples: Columns, column: str, *, key: str = "") -> tuple[Curve, ...]:
    """Return a column of samples as curves over time.

    Parameters
    ----------
    samples : columns
        ``"at_s"``, ``"resource"`` and `column`; a value holds until the next sample of its resource.
    column : str
        What to draw.
    key : str
        When given, the resources become one curve of this name, however few they are.
    """
    known = np.isfinite(samples[column])
    at_s, resource, values = (samples[name][known] for name in ("at_s", "resource", column))
    names = natural_order(np.unique(resource).astype(str).tolist())
    if len(names) > SEVERAL or (key and len(names) > 1):
        return (_together(at_s, resource, values, names, key or f"mean of {len(names)}"),) if len(at_s) else ()
    parts = ((name, np.flatnonzero(resource == name)) for name in names)
    return tuple(_alone(key or name, at_s[rows], values[rows]) for name, rows in parts)


def _alone(name: str, at_s: Floats, values: npt.NDArray[Any]) -> Curve:
    order = np.argsort(at_s, kind="stable")
    return Curve(name, at_s[order], values[order].astype(np.float64), shape="step")


def _together(at_s: Floats, resource: Any, values: Any, names: list[str], name: str) -> Curve:
    instants = np.linspace(at_s.min(), at_s.max(), INSTANTS)
    each = np.stack([_held(_alone("", at_s[rows], values[rows]), instants) for rows in (resource == n for n in names)])
    # A resource that has not been sampled yet does not count yet.
    present = np.isfinite(each)
    num = present.sum(axis=0)
    mean = np.where(present, each, 0).sum(axis=0) / np.where(num, num, 1)
    low, high = np.fmin.reduce(each, axis=0), np.fmax.reduce(each, axis=0)
    return Curve(name, instants, np.where(num, mean, np.nan), shape="step", low=low, high=high)


def _held(curve: Curve, instants: Floats) -> Floats:
    last = np.searchsorted(curve.x, instants, side="right") - 1
    return np.where(last >= 0, curve.y[np.maximum(last, 0)], np.nan)
