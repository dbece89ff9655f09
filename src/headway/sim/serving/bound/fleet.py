"""How much a fleet can do per second, and how soon one request could be through, counted by one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from headway.sim.serving.bound.line import Line
from headway.sim.serving.bound.work import Instances, Work
from headway.traces.table import Floats

Costs = tuple[float, ...]


def capacities(fleet: Sequence[Instances], *, lends: bool = False) -> Iterator[tuple[Line, float, float]]:
    """Yield every line, what it charges per token in memory at each decode, and how many seconds of it a second has.

    An instance of another kind does in a second as much as so many of this kind do, whatever it does: one over the
    least ratio of its costs to those of this line, for the best of its own lines.

    Parameters
    ----------
    fleet : sequence of Instances
        All instances.
    lends : bool
        Whether a request may hold memory of several instances.
    """
    total = sum(kind.num * kind.kv_tokens for kind in fleet)
    for one in fleet:
        for line in one.lines:
            ratios = [
                max(_ratio(_costs(other, kind, total, lends), _costs(line, one, total, lends)) for other in kind.lines)
                for kind in fleet
            ]
            if 0 < min(ratios) < np.inf:
                capacity = sum(kind.num / ratio for kind, ratio in zip(fleet, ratios, strict=True))
                yield line, _memory_s(line, one, total, lends), capacity


def alone(work: Work, fleet: Sequence[Instances]) -> tuple[Floats, Floats]:
    """Return the least time of each request's prompt, and of its tokens after the first, were it alone.

    Returns
    -------
    (array of float, array of float)
        In seconds, `[requests]` each.
    """
    first, rest = np.zeros(len(work.num_decodes)), np.zeros(len(work.num_decodes))
    for one in fleet:
        for line in one.lines:
            factor = one.num_stages * min(
                max(_ratio(_alone_costs(other, kind), _alone_costs(line, one)) for other in kind.lines)
                for kind in fleet
            )
            if np.isinf(factor):  # it is a line of no cost at all
                continue
            first = np.maximum(first, factor * (line.step_s + work.prefill_s(line)))
            rest = np.maximum(rest, factor * (line.step_s * work.num_decodes + work.decode_s(line)))
    return first, rest


def _memory_s(line: Line, kind: Instances, total: int, lends: bool) -> float:
    return line.step_s / (total if lends else kind.kv_tokens)


def _costs(line: Line, kind: Instances, total: int, lends: bool) -> Costs:
    return line.decode_s, line.context_s, line.prefill_s, line.pair_s, _memory_s(line, kind, total, lends)


def _alone_costs(line: Line, kind: Instances) -> Costs:
    parts = (line.step_s, line.decode_s, line.context_s, line.prefill_s, line.pair_s)
    return tuple(kind.num_stages * part for part in parts)


def _ratio(costs: Costs, of: Costs) -> float:
    """Return how many times the one costs the other at least, whatever is done; infinite where that costs nothing."""
    return min([one / other for one, other in zip(costs, of, strict=True) if other > 0], default=np.inf)
