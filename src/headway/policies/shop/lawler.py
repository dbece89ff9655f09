"""Lawler's decomposition: the least total tardiness of one machine, proven, for hundreds of jobs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import ConfigError, missing_extra
from headway.core.nouns import Seconds
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.one_machine import OneMachine, as_one_machine, check_plain, in_sequence
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Progress, Result
from headway.policies.shop.schedule import Schedule, objective
from headway.policies.shop.seats import Tell
from headway.policies.shop.smtt_rules import sequence

NAME = "shop/lawler"
MOST_TIME = 1 << 33
"""Subproblems are remembered by numbers of 64 bits, of which a time has so much."""
STEPS = 10_000
"""Subproblems between two looks at the stopwatch."""


class Lawler:
    """Proves the least total tardiness of one machine by splitting its jobs around the longest one.

    In some optimal order the longest job goes at one of a few places of the order by due dates; what goes before it and
    what goes after it are then apart. Subproblems are remembered. Where the budget ends first, the best of two rules is
    the answer.

    Parameters
    ----------
    max_states : int
        How many subproblems are remembered at most, rounded down to a power of two, >= 1024; 4,194,304 (100 MB). What
        finds no room is solved again when it is asked again.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Lawler, "A pseudopolynomial algorithm for sequencing jobs to minimize total tardiness", Annals of Discrete
    Mathematics 1, 1977, the decomposition; Potts, Van Wassenhove, "A decomposition algorithm for the single machine
    total tardiness problem", Operations Research Letters 1, 1982, which of its places need not be looked at.

    Faithful to the paper: the decomposition theorem, over the longest job and the order by due dates. Changed: results
    of subproblems are remembered as they come up, and are not tabulated from the smallest on; places are left out by
    the conditions of Potts and Van Wassenhove.

    Cost: pseudopolynomial, O(n^4 P) at worst; of made-up instances, 100 jobs take milliseconds, 200 below a second and
    500 some seconds at worst.

    Examples
    --------
    >>> from headway.policies.shop.making import single_machine
    >>> problem = single_machine("six", [10, 11, 10, 10, 11, 10], [15, 11, 13, 11, 12, 11])
    >>> result = Lawler().solve(problem, budget_s=10, rng=np.random.default_rng(0))
    >>> result.status, result.objective
    ('optimal', 141)
    """

    def __init__(self, *, max_states: int = 1 << 22) -> None:
        self.max_states = max_states
        if max_states < 1024:
            raise ConfigError(f"{NAME}: max_states must be >= 1024, got {max_states}. Try the default, {1 << 22}.")

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Prove the optimum, or return the best of `start` and two rules when the budget ends first."""
        watch = Stopwatch(budget_s)
        machine = as_one_machine(problem, NAME)
        _check(problem, machine)
        order = self._proven(machine, watch)
        orders = [order] if order is not None else _by_rules(machine)
        schedules = [in_sequence(problem, machine.tasks[one].tolist(), machine.begin) for one in orders]
        if start is not None and order is None:
            schedules.append(start)
        best = min(schedules, key=lambda one: objective(problem, one))
        cost = objective(problem, best)
        news = Progress(watch.spent_s, cost, cost if order is not None else None)
        if tell is not None:
            tell(news)
        return Result(
            solver=NAME,
            status="feasible" if order is None else "optimal",
            schedule=best,
            objective=cost,
            bound=news.bound,
            took_s=watch.spent_s,
            history=(news,),
        )

    def _proven(self, machine: OneMachine, watch: Stopwatch) -> NDArray[np.int64] | None:
        """Return an optimal order of the machine's jobs, or None when the budget ends first."""
        try:
            import headway.policies.shop.lawler_kernel as kernel
        except ModuleNotFoundError as error:
            raise missing_extra("numba", "shop", "to compile the decomposition") from error
        by_due = np.lexsort((machine.durations, machine.due))
        p, d = machine.durations[by_due].astype(np.int64), machine.due[by_due].astype(np.int64)
        rank = np.empty(len(p), dtype=np.int64)
        rank[np.lexsort((d, p))] = np.arange(len(p))
        num = 1 << min(self.max_states.bit_length() - 1, 12 + len(p) // 8)
        keys, found = np.full(num, -1, dtype=np.int64), np.empty((num, 2), dtype=np.int64)
        while kernel.solve(p, d, rank, machine.begin, keys, found, STEPS) == kernel.SPENT:
            if watch.is_over:
                return None
        jobs: NDArray[np.int64] = by_due[kernel.order(p, d, rank, machine.begin, keys, found)]
        return jobs


def _by_rules(machine: OneMachine) -> list[NDArray[np.int64]]:
    arrays = machine.durations, machine.due
    return [sequence("mddc", *arrays, begin=machine.begin), sequence("psk", *arrays, begin=machine.begin)]


def _check(problem: Problem, machine: OneMachine) -> None:
    is_weighted = problem.objective == "weighted_tardiness" and len(set(machine.weights.tolist())) > 1
    if is_weighted or problem.objective not in ("total_tardiness", "weighted_tardiness"):
        came = "one of unequal weights" if is_weighted else problem.objective
        raise ConfigError(f"{NAME}: objective must be total tardiness, got {came}. Try shop/cp-sat.")
    check_plain(problem, NAME)
    end = machine.begin + machine.durations.sum()
    if end >= MOST_TIME:
        raise ConfigError(f"{NAME}: all jobs must end before {MOST_TIME}, got {end:.0f}. Use a coarser unit of time.")
    if len(machine.tasks) >= 1024:
        raise ConfigError(f"{NAME}: problem must have fewer than 1024 jobs, got {len(machine.tasks)}. Use a rule.")
