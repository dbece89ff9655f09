"""Until when the work of each request must be done for it to be good."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.sim.serving.bound.fleet import alone
from headway.sim.serving.bound.line import Line
from headway.sim.serving.bound.windows import Jobs
from headway.sim.serving.bound.work import Instances, Promises, Work
from headway.traces.table import Floats, RequestTable

ROUNDING = 1 + 1e-9
"""Times in a world are sums of many, rounded each."""


class Deadlines:
    """Within which spans the work of each request must lie, for it to be good; arrays are `[requests]`.

    Attributes
    ----------
    able : array of bool
        Whether it could be good if it were alone.
    """

    def __init__(self, table: RequestTable, work: Work, promises: Promises, fleet: Sequence[Instances]) -> None:
        prefill_s, decode_s = alone(work, fleet)
        gaps_s = np.where(work.num_decodes > 0, promises.tpot_s * np.maximum(work.num_decodes, 1), np.inf)
        total_s = np.minimum(promises.e2e_s, np.where(work.num_decodes > 0, promises.ttft_s + gaps_s, promises.ttft_s))
        first_s = np.minimum(promises.ttft_s, promises.e2e_s - decode_s)
        self.able = (
            (prefill_s <= first_s * ROUNDING)
            & (decode_s <= gaps_s * ROUNDING)
            & (prefill_s + decode_s <= total_s * ROUNDING)
        )
        self.able &= work.most_tokens <= max(kind.kv_tokens for kind in fleet)
        earliest_s, latest_s = _sent(table, prefill_s + decode_s, total_s)
        self.first = (earliest_s, latest_s + first_s * ROUNDING)
        self.rest = (earliest_s + prefill_s, latest_s + total_s * ROUNDING)

    def jobs(self, work: Work, line: Line, memory_s: float) -> Jobs:
        """Return all work that has to lie within a span, by what it costs."""
        rows = np.arange(len(self.able))
        parts = [(self.first, work.prefill_s(line)), (self.rest, work.decode_s(line) + memory_s * work.own_tokens)]
        owner, release_s, due_s, cost = (
            np.concatenate(columns)
            for columns in zip(*((rows, span[0], span[1], cost) for span, cost in parts), strict=True)
        )
        kept = np.isfinite(due_s) & (cost > 0) & np.tile(self.able, 2)
        return Jobs(owner[kept], release_s[kept], due_s[kept], cost[kept])


def _sent(table: RequestTable, alone_s: Floats, total_s: Floats) -> tuple[Floats, Floats]:
    """Return the earliest and the latest time at which each request is sent while all before it are good."""
    earliest_s, latest_s = table.arrival_s.copy(), table.arrival_s.copy()
    if table.after is not None:
        gap_s = table.gap_s if table.gap_s is not None else np.zeros(len(table))
        for row in np.flatnonzero(table.after >= 0).tolist():  # who comes before has a smaller row
            parent = table.after[row]
            earliest_s[row] = earliest_s[parent] + alone_s[parent] + gap_s[row]
            latest_s[row] = latest_s[parent] + total_s[parent] + gap_s[row]
    return earliest_s, latest_s
