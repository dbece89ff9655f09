"""A table of blocks as a problem of classical scheduling, for solvers that prove things."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.core.nouns import Seconds
from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.problem import Job, Mode, Problem, Task
from headway.policies.shop.quantum_nouns import Entry, Piece
from headway.policies.shop.quantum_runs import Run

BUDGET_S = 5.0
"""So long a solver may look for a table before a demand is rejected."""


def solved(runs: Sequence[Run], budget_s: Seconds = BUDGET_S) -> list[Entry] | None:
    """Place runs with the exact planner; None when it proves that there is no table, or finds none in time."""
    solver = CpSat(workers=1, gap_frac=1.0, explain_frac=0.0)  # any table will do
    found = solver.solve(as_problem(runs), budget_s=budget_s, rng=np.random.default_rng(0))
    if found.schedule is None:
        return None
    return [
        Entry(run.demand, run.release, run.deadline, (Piece(0, start, run.num_slots),))
        for run, start in zip(runs, found.schedule.starts, strict=True)
    ]


def as_problem(runs: Sequence[Run]) -> Problem:
    """Pose the placing of runs, each a block of all its nodes, with its release and its deadline.

    A schedule that keeps it is a table that `rcpsp-np-edf` may have missed, for earliest deadline first is a heuristic
    where nothing may be stopped; that there is none is proof that a demand must be rejected.

    Parameters
    ----------
    runs : sequence of Run
        All runs of a table.
    """
    nodes = sorted({node for run in runs for node in run.protocol.nodes})
    places = {node: place for place, node in enumerate(nodes)}
    tasks = tuple(
        Task(
            modes=(Mode(run.num_slots, tuple((places[node], 1) for node in run.protocol.nodes)),),
            job=number,
            release=run.release,
            name=f"{run.demand}@{run.release}",
        )
        for number, run in enumerate(runs)
    )
    jobs = tuple(Job(deadline=run.deadline, name=run.demand) for run in runs)
    return Problem(name="table", tasks=tasks, jobs=jobs, capacity=(1,) * len(nodes), resources=tuple(nodes))
