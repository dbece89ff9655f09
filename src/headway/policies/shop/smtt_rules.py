"""Sequencing rules of one machine with due dates, from arrays to an order."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import missing_extra

Floats = NDArray[np.float64]
Rule: TypeAlias = Literal[
    "mddc", "mddc-plain", "mdd", "eddc", "eddc-printed", "edd", "psk", "spt", "wspt", "wmdd", "atc"
]
"""By name; see `sequence`."""
UNIT = 50.5
"""The mean duration of the jobs among which the rules were found, in their unit."""


def sequence(
    rule: Rule,
    durations: Floats,
    due: Floats,
    weights: Floats | None = None,
    *,
    begin: float = 0.0,
    normalise: bool = False,
    ties: Literal["short", "index"] = "short",
) -> NDArray[np.int64]:
    """Sequence jobs by a rule; returns their places in the order in which they go.

    Parameters
    ----------
    rule : str
        ``"mddc"`` (modified due date with corrections), ``"mddc-plain"`` (without the one for long jobs), ``"mdd"``
        (modified due date), ``"eddc"`` (the reconstruction of EDDC), ``"eddc-printed"``, ``"edd"`` (earliest due date),
        ``"psk"`` (Panwalkar, Smith, Koulamas 1993), ``"spt"`` (shortest first), and with weights ``"wspt"``, ``"wmdd"``
        (Kanet and Li 2004) and ``"atc"`` (Vepsalainen and Morton 1987, look-ahead 2).
    durations, due : array, [jobs]
        In one unit, >= 0.
    weights : array or None, [jobs]
        Each >= 0; 1 by default.
    begin : float
        When the machine becomes free.
    normalise : bool
        Measure durations by their mean where a rule adds a pure number to a time, so that the unit does not matter.
    ties : str
        Which of equal jobs goes first: the shorter one (``"short"``) or the first given (``"index"``).

    Raises
    ------
    MissingExtra
        When numba is not installed.

    Examples
    --------
    >>> sequence("mddc", np.array([10., 11, 10, 10, 11, 10]), np.array([15., 11, 13, 11, 12, 11])).tolist()
    [3, 5, 2, 0, 1, 4]
    """
    weights = np.ones(len(durations)) if weights is None else np.maximum(weights, 1e-12)
    if rule == "edd":
        return np.lexsort((durations, due))
    if rule == "wspt":
        return np.lexsort((due, durations / weights))
    first = np.lexsort((durations, due)) if rule == "eddc-printed" else np.lexsort((due, durations))
    if rule == "spt":
        return first
    first = np.arange(len(durations)) if ties == "index" and rule in ("mdd", "wmdd", "atc") else first
    scale = float(durations.mean()) / UNIT if normalise and len(durations) else 1.0
    return first[_compiled(rule, durations[first], due[first], weights[first], float(begin), scale)]


def total_tardiness(
    order: NDArray[np.int64], durations: Floats, due: Floats, weights: Floats | None = None, begin: float = 0.0
) -> float:
    """Return the total tardiness of jobs in an order, weighted where there are weights."""
    late = np.maximum(begin + np.cumsum(durations[order]) - due[order], 0.0)
    return float(late.sum() if weights is None else late @ weights[order])


def _compiled(rule: Rule, p: Floats, d: Floats, w: Floats, begin: float, scale: float) -> NDArray[np.int64]:
    try:
        import headway.policies.shop.smtt_rules_kernel as kernel
    except ModuleNotFoundError as error:
        raise missing_extra("numba", "shop", "to compile sequencing rules") from error
    order: NDArray[np.int64]
    if rule in ("eddc", "eddc-printed"):
        order = kernel.inserted(p, d, begin, rule == "eddc-printed")
    elif rule == "psk":
        order = kernel.psk(p, d, begin)
    else:
        code = {
            "mdd": kernel.MDD,
            "mddc": kernel.MDDC,
            "mddc-plain": kernel.MDDC_PLAIN,
            "wmdd": kernel.WMDD,
            "atc": kernel.ATC,
        }[rule]
        order = kernel.dispatched(code, p, d, w, begin, scale)
    return order
