"""The best possible: a bound on how many requests any policy can serve as promised, knowing all that is to come.

Why no policy beats it. A request is good when its first token comes by a, and its last by b, after it was sent, where
b follows from the promises: the end of the whole, or the first token and so many gaps. So all steps that compute its
prompt lie between its arrival and its first deadline, and those of its other tokens between the earliest possible
first token and the last deadline. Steps of one instance do not overlap (of a pipeline: not in its first stage). Each
step takes at least what every `Line` below the price says, and a line splits into parts of the requests in the step:
each prompt pays its tokens and pairs, each decode itself and its context, and the fixed time of a step with decodes
is paid by these in proportion to the memory that they alone hold, of which all together have no more than the
instance. What requests share in memory, or may find in a cache, is paid by nobody. Hence, for every span of time and
every line, the parts of the good requests whose deadlines and arrivals lie within the span come to no more than the
span times the number of instances. The largest number of requests that satisfies all these inequalities, of which
each may be taken in part, is a bound; whatever inequalities are left out, it stays one. Instances of several kinds
count as many of one kind as the cheapest ratio of their lines allows.

A request that follows another (`RequestTable.after`) is sent when that has ended. While all before it are good, it is
sent within a span; after one that was late it may come at any time, so its work counts as far as all before it are
good. Those that are never sent, because one before them was turned away, do not count in the share of good requests:
the bound on the share takes the best choice of them.

Where there is a draft model, a token after the first pays at least what a drafted token does, and nothing of its step
or of what that reads. With ``lends`` the memory of all instances counts, and nobody pays for what others may attend to.
Of operations that run side by side within a step nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway.numerics.linear import LinearProgram
from headway.sim.serving.bound.deadlines import Deadlines
from headway.sim.serving.bound.fleet import capacities
from headway.sim.serving.bound.windows import overfull
from headway.sim.serving.bound.work import Instances, Promises, Work
from headway.traces.table import Floats, RequestTable

ROUNDS = 40
NEARLY = 1e-6
"""Rounding of the solver, allowed for."""


@dataclass(frozen=True)
class Possible:
    """The best possible.

    Parameters
    ----------
    num_requests : int
        How many there are.
    num_good : int
        The most that any policy can serve as promised.
    good_frac : float
        The largest share of those sent and ended.
    num_spans : int
        Spans of time that the bound rests on.
    settled : bool
        Whether more spans of those looked at would not lower it; a bound it is in any case.
    """

    num_requests: int
    num_good: int
    good_frac: float
    num_spans: int
    settled: bool


def most_good(
    table: RequestTable,
    work: Work,
    promises: Promises,
    fleet: Sequence[Instances],
    *,
    lends: bool = False,
    whole: bool = False,
    limit_s: float = 20.0,
) -> Possible:
    """Return the best possible of some requests on a fleet.

    Parameters
    ----------
    table : RequestTable
        When they arrive, and who follows whom.
    work : Work
        What each needs.
    promises : Promises
        Until when.
    fleet : sequence of Instances
        On what.
    lends : bool
        Whether a request may hold memory of several instances.
    whole : bool
        Whether requests are taken whole or not at all: tighter, and slow beyond a hundred of them. Not for requests
        that follow others.
    limit_s : float
        Time for each search for whole numbers, in seconds, > 0; when it is over, what is known then is a bound.

    Notes
    -----
    Cost: some tens of linear programs of as many variables as requests, and O(requests) operations for each of at most
    1,500 starts of spans in each round.
    """
    return _Search(table, work, promises, fleet, lends=lends, whole=whole, limit_s=limit_s).run()


class _Search:
    """Rounds of solving and of adding the spans that the solution overfills."""

    def __init__(
        self,
        table: RequestTable,
        work: Work,
        promises: Promises,
        fleet: Sequence[Instances],
        *,
        lends: bool,
        whole: bool,
        limit_s: float,
    ) -> None:
        self.num = len(table)
        self.limit_s = limit_s
        self.after = table.after if table.after is not None and (table.after >= 0).any() else None
        self.whole = whole and self.after is None
        self.due = Deadlines(table, work, promises, fleet)
        self.kinds = [
            (self.due.jobs(work, line, memory_s), capacity)
            for line, memory_s, capacity in capacities(fleet, lends=lends)
        ]

    def run(self) -> Possible:
        count, spans, settled = self._best(self._program(share=False))
        num_good = min(self.num, math.floor(count + NEARLY * max(1.0, count)))
        frac = num_good / self.num if self.num else 1.0
        if self.after is not None:
            frac, more, done = self._best(self._program(share=True))
            frac, spans, settled = min(1.0, frac + NEARLY), spans + more, settled and done
        return Possible(self.num, num_good, frac, spans, settled)

    def _best(self, program: LinearProgram) -> tuple[float, int, bool]:
        """Return the best value, on how many spans it rests, and whether no further span would lower it."""
        before, most = program.num_rows, math.inf
        for _ in range(ROUNDS):
            value, point = program.solve(limit_s=self.limit_s if self.whole else math.inf)
            most = min(most, value)
            if not self._tighten(program, point):
                return most, program.num_rows - before, True
        return most, program.num_rows - before, False

    def _tighten(self, program: LinearProgram, point: Floats) -> bool:
        """Add the spans that are overfull at a point; says whether there were any."""
        scale = float(point[-1]) if len(point) > 3 * self.num else 1.0
        first = self.num if self.after is not None else 0  # whose work must lie within its span
        timely = point[first : first + self.num] / max(scale, 1e-12)
        num_before = program.num_rows
        for jobs, capacity in self.kinds:
            for span in overfull(jobs, timely, capacity, least_s=NEARLY):
                cost = np.bincount(jobs.owner[span.jobs], jobs.cost[span.jobs], self.num).astype(np.float64)
                owners = np.flatnonzero(cost)
                self._at_most(program, owners + first, cost[owners], capacity * span.length_s)
        return program.num_rows > num_before

    def _at_most(self, program: LinearProgram, columns: np.ndarray, factors: Floats, most: float) -> None:
        """Bound a sum; in a program of shares everything is scaled by its last variable."""
        if len(program.gains) > 3 * self.num:
            program.bound(np.append(columns, len(program.gains) - 1), np.append(factors, -most), 0.0)
        else:
            program.bound(columns, factors, most)

    def _program(self, *, share: bool) -> LinearProgram:
        """Set up: whether each is good, and where some follow others whether each is timely, and whether it is sent."""
        able = self.due.able.astype(np.float64)
        if self.after is None:
            return LinearProgram(np.ones(self.num), able, whole=self.whole)
        num, parts = self.num, 4 if share else 3
        gains = np.zeros(3 * num + (parts == 4))
        gains[:num] = 1.0
        largest = np.concatenate([able, np.ones(2 * num), *([np.ones(1)] if share else [])])
        program = LinearProgram(gains, largest)
        self._link(program)
        if share:
            program.fix(np.arange(2 * num, 3 * num), np.ones(num), 1.0)  # shares of those sent
        return program

    def _link(self, program: LinearProgram) -> None:
        """Say how those who follow others hang on them."""
        assert self.after is not None
        num = self.num
        for row, parent in enumerate(self.after.tolist()):
            good, timely, sent = row, num + row, 2 * num + row
            self._at_most(program, np.array([good, sent]), np.array([1.0, -1.0]), 0.0)
            if parent < 0:  # it is sent, and timely when it is good
                self._at_most(program, np.array([sent]), np.array([-1.0]), -1.0)
                self._at_most(program, np.array([good, timely]), np.array([1.0, -1.0]), 0.0)
                self._at_most(program, np.array([sent]), np.array([1.0]), 1.0)
            else:
                columns = np.array([good, num + parent, timely])
                self._at_most(program, columns, np.array([1.0, 1.0, -1.0]), 1.0)
                self._at_most(program, np.array([2 * num + parent, sent]), np.array([-1.0, 1.0]), 0.0)
                self._at_most(program, np.array([parent, sent]), np.array([1.0, -1.0]), 0.0)
