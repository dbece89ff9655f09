"""The search for a plan of nano-batches, in two stages, each a mixed-integer program.

The first (`nanoflow_order`) takes it that operations do not hinder each other unless they are bound by the same, and
finds in which order they run; the second (`nanoflow_shares`) keeps that order, and finds how much of the device each
gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from headway.policies.serving.nanoflow_order import find_order
from headway.policies.serving.nanoflow_plan import SPEEDS, Chain, Kind, NanoPlan, Points, one_after_the_other
from headway.policies.serving.nanoflow_shares import Sharing

Cut = Callable[[float], Chain]
"""The operations of a nano-batch that has this share of the batch."""
SPLITS: tuple[tuple[float, ...], ...] = ((0.5, 0.5), (0.375, 0.625), (1 / 3, 1 / 3, 1 / 3), (0.25, 0.25, 0.25, 0.25))
"""How the batch may be cut; more pieces are tried as long as they help."""


def search(
    cut: Cut,
    *,
    splits: Sequence[Sequence[float]] = SPLITS,
    speeds: Mapping[Kind, Points] = SPEEDS,
) -> NanoPlan:
    """Find a plan for the layers of a model.

    Parameters
    ----------
    cut : callable of (share of the batch) -> operations
        What one layer of a nano-batch runs, and how long each operation takes alone.
    splits : sequence of sequence of float
        Shares of the batch that nano-batches may have; each sums to 1.
    speeds : mapping of kind to points
        How fast operations are that share the device.

    Returns
    -------
    NanoPlan
        The best that was found; one operation after the other where nothing is better.

    Raises
    ------
    MissingExtra
        When the solver is not installed.
    """
    best = one_after_the_other(cut(1.0))
    best_s, fewer_s, num = best.frame_s([cut(1.0)], speeds), np.inf, 2
    for fracs in splits:
        if len(fracs) > num and best_s >= fewer_s:  # one piece more has not helped
            break
        num, fewer_s = (len(fracs), best_s) if len(fracs) > num else (num, fewer_s)
        chains = [cut(frac) for frac in fracs]
        for lag in _lags(chains):
            plan = Sharing(chains, *find_order(chains, lag), speeds).plan(fracs)
            if (found_s := plan.frame_s(chains, speeds)) < best_s:
                best, best_s = plan, found_s
    return best


def _lags(chains: Sequence[Chain]) -> Sequence[int | None]:
    """Return how far behind the first the second of two nano-batches may be.

    To the first stage one is as good as another, so the second tries them: none, and those after which something else
    than products begins.
    """
    if len(chains) != 2:
        return [None]
    chain = chains[1]
    return [0, *(n for n in range(1, len(chain)) if chain[n - 1].kind == "compute" != chain[n].kind)]
