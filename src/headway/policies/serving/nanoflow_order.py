"""The first stage of the search for nano-batches: in which order operations run, if sharing a device cost nothing.

Operations that are bound by the same do not overlap; others do, freely.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from headway.core.nouns import Seconds
from headway.numerics.programs import Program
from headway.policies.serving.nanoflow_plan import Chain, Operation, least_s

GAP_FRAC = 0.05
"""A program is done when its answer is proved to be within this share of the best."""
MAX_NODES = 1000
"""Or when it has looked at so many parts of the space."""


def find_order(chains: Sequence[Chain], lag: int | None = None) -> tuple[list[Seconds], list[int]]:
    """Return when each operation begins, and which operation of each nano-batch is the first in a frame.

    Parameters
    ----------
    chains : sequence of chain
        The operations of each nano-batch.
    lag : int or None
        With which of its operations the second nano-batch begins the frame; the program chooses by default.
    """
    flat, places = numbered(chains)
    unit_s = sum(one.alone_s for one in flat)
    program = Program(gap_frac=GAP_FRAC, max_nodes=MAX_NODES)
    last = program.variable(1.0)
    begins = [program.variable(1e-3 / len(flat)) for _ in flat]  # of equal frames, the one that begins things early
    cuts: dict[int, int] = {}
    takes = [one.alone_s / unit_s for one in flat]
    program.at_least(least_s(chains) / unit_s, (last, 1.0))  # said outright, it need not be found out
    for index in range(len(flat)):
        program.at_least(takes[index], (last, 1.0), (begins[index], -1.0))
    for nth, members in enumerate(places):
        for index, follower in _ring(members):
            terms = ((begins[follower], 1.0), (begins[index], -1.0))
            if nth == 0:  # frames begin where layers of the first nano-batch do
                if follower != members[0]:
                    program.at_least(takes[index], *terms)
                continue
            cuts[follower] = program.variable(binary=True)
            program.at_least(takes[index], *terms, (cuts[follower], 2.0))
        if nth:
            program.at_least(1.0, *((cuts[index], 1.0) for index in members))
            program.at_least(-1.0, *((cuts[index], -1.0) for index in members))
    for one, other in rivals(flat, places):
        first = program.variable(binary=True)
        program.at_least(takes[one] - 2.0, (begins[other], 1.0), (begins[one], -1.0), (first, -2.0))
        program.at_least(takes[other], (begins[one], 1.0), (begins[other], -1.0), (first, 2.0))
    if lag is not None:
        program.at_least(1.0, (cuts[places[1][lag]], 1.0))
    found = program.solve()
    starts = [0] + [next(place for place, i in enumerate(members) if found[cuts[i]] > 0.5) for members in places[1:]]
    return [float(found[index]) * unit_s for index in begins], starts


def numbered(chains: Sequence[Chain]) -> tuple[list[Operation], list[list[int]]]:
    """Return all operations, and the numbers of those of each nano-batch."""
    flat, places = list[Operation](), list[list[int]]()
    for chain in chains:
        places.append(list(range(len(flat), len(flat) + len(chain))))
        flat += chain
    return flat, places


def _ring(members: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield each operation of a nano-batch with the one after it, that of the next layer after the last."""
    return ((index, members[(place + 1) % len(members)]) for place, index in enumerate(members))


def in_frame(members: Sequence[int], cut: int) -> Iterator[tuple[int, int]]:
    """Yield the same within a frame that begins with the operation at `cut`."""
    turned = [*members[cut:], *members[:cut]]
    return ((one, other) for one, other in _ring(turned) if other != turned[0])


def _across(places: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    return ((one, other) for some, others in combinations(places, 2) for one in some for other in others)


def rivals(flat: Sequence[Operation], places: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Return pairs of operations of two nano-batches that are bound by the same: they never overlap."""
    return [(one, other) for one, other in _across(places) if flat[one].kind == flat[other].kind]


def strangers(flat: Sequence[Operation], places: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Return pairs of operations of two nano-batches that are bound by different things."""
    return [(one, other) for one, other in _across(places) if flat[one].kind != flat[other].kind]
