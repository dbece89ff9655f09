"""The second stage of the search for nano-batches: which share of the device each operation gets, their order kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from headway.core.nouns import Seconds
from headway.numerics.programs import Program
from headway.policies.serving.nanoflow_order import GAP_FRAC, MAX_NODES, in_frame, numbered, rivals, strangers
from headway.policies.serving.nanoflow_plan import LEVELS, SPEEDS, Chain, Kind, NanoPlan, Points, speed

FAR = 20.0
"""Longer than any frame, in units of all operations one after the other."""
Terms = Iterator[tuple[int, float]]


class Sharing:
    """The program of the second stage.

    Parameters
    ----------
    chains : sequence of chain
        The operations of each nano-batch.
    begins_s : sequence of float
        When each operation begins by the first stage.
    cuts : sequence of int
        The first operation of each nano-batch in a frame.
    speeds : mapping of kind to points
        How fast operations are that share the device.
    """

    def __init__(
        self,
        chains: Sequence[Chain],
        begins_s: Sequence[Seconds],
        cuts: Sequence[int],
        speeds: Mapping[Kind, Points] = SPEEDS,
    ) -> None:
        self._flat, self._places = numbered(chains)
        self._begins_s, self._cuts, self._speeds = begins_s, cuts, speeds
        self._unit_s = sum(one.alone_s for one in self._flat)
        self._order = _sorted(begins_s, self._places, cuts)
        self._program = Program(gap_frac=GAP_FRAC, max_nodes=MAX_NODES)
        self._last = self._program.variable(1.0)
        self._begins = [self._program.variable() for _ in self._flat]
        self._levels = [[self._program.variable(binary=True) for _ in LEVELS] for _ in self._flat]

    def plan(self, fracs: Sequence[float]) -> NanoPlan:
        """Solve it for nano-batches that have these shares of the batch."""
        before, near = self._pairs()
        self._bound()
        for early, late in before:
            self._program.at_least(0.0, (self._begins[late], 1.0), *self._ends(early))
        beside = {pair: self._either(*pair) for pair in near}
        for trio in _trios(near):
            pairs = [(together, -1.0) for pair, together in beside.items() if set(pair) <= set(trio)]
            self._program.at_least(-4.0, *pairs, *self._given(*trio))
        found = self._program.solve()
        apart = [pair for pair, together in beside.items() if found[together] < 0.5]
        waits: list[set[int]] = [set() for _ in self._flat]
        for early, late in [*before, *apart]:
            waits[late].add(early)
        return NanoPlan(
            fracs=tuple(fracs),
            shares=tuple(LEVELS[int(np.argmax([found[one] for one in options]))] for options in self._levels),
            order=tuple(self._order),
            waits=tuple(tuple(sorted(one)) for one in waits),
            cuts=tuple(self._cuts),
        )

    def _pairs(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return which operations come before which, and which may run beside each other, the earlier first."""
        rank = {index: place for place, index in enumerate(self._order)}
        before = [
            pair for members, cut in zip(self._places, self._cuts, strict=True) for pair in in_frame(members, cut)
        ]
        before += [_by(rank, *pair) for pair in rivals(self._flat, self._places)]
        near: list[tuple[int, int]] = []
        for pair in strangers(self._flat, self._places):
            early, late = _by(rank, *pair)
            over_s = self._begins_s[early] + self._flat[early].alone_s * (1 - 1e-6)
            (before if self._begins_s[late] >= over_s else near).append((early, late))
        return before, near

    def _bound(self) -> None:
        """Give each operation one share, and the frame its least length."""
        for index, options in enumerate(self._levels):
            self._program.at_least(1.0, *((one, 1.0) for one in options))
            self._program.at_least(0.0, (self._last, 1.0), *self._ends(index))
        # What is bound by the same runs one after the other, and the device is not given away twice. Both follow from
        # the rest; said outright, they need not be found out.
        for kind in SPEEDS:
            same = [index for index, one in enumerate(self._flat) if one.kind == kind]
            self._program.at_least(0.0, (self._last, 1.0), *(term for index in same for term in self._takes(index)))
        area = [term for index in range(len(self._flat)) for term in self._takes(index, of_share=True)]
        self._program.at_least(0.0, (self._last, 1.0), *area)

    def _either(self, early: int, late: int) -> int:
        """Let two operations follow each other, or run beside each other within the device; returns which it is."""
        together = self._program.variable(binary=True)
        self._program.at_least(0.0, (self._begins[late], 1.0), *self._ends(early), (together, FAR))
        self._program.at_least(-2.0, (together, -1.0), *self._given(early, late))
        return together

    def _takes(self, index: int, *, of_share: bool = False) -> Terms:
        """Yield the terms of minus the time that an operation takes, or of that times its share of the device."""
        one = self._flat[index]
        for level, chosen in zip(LEVELS, self._levels[index], strict=True):
            slow = one.alone_s / self._unit_s / speed(one.kind, level, self._speeds)
            yield chosen, -slow * (level if of_share else 1.0)

    def _ends(self, index: int) -> Terms:
        """Yield the terms of minus the end of an operation."""
        yield self._begins[index], -1.0
        yield from self._takes(index)

    def _given(self, *indices: int) -> Terms:
        """Yield the terms of minus the shares of operations."""
        for index in indices:
            for level, chosen in zip(LEVELS, self._levels[index], strict=True):
                yield chosen, -level


def _sorted(begins_s: Sequence[Seconds], places: Sequence[Sequence[int]], cuts: Sequence[int]) -> list[int]:
    """Return all operations by their beginning, those of a nano-batch in their order in the frame."""
    left = [[*members[cut:], *members[:cut]] for members, cut in zip(places, cuts, strict=True)]
    found: list[int] = []
    while any(left):
        found.append(min((one for one in left if one), key=lambda one: begins_s[one[0]]).pop(0))
    return found


def _by(rank: Mapping[int, int], one: int, other: int) -> tuple[int, int]:
    return (one, other) if rank[one] < rank[other] else (other, one)


def _trios(near: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return the sets of three operations that may all overlap each other."""
    found = {frozenset(pair) for pair in near}
    members = sorted({index for pair in near for index in pair})
    return [trio for trio in combinations(members, 3) if all(frozenset(two) in found for two in combinations(trio, 2))]
