"""Budgets of computing time, for whatever searches until it is told to stop."""

from __future__ import annotations

import time


class Stopwatch:
    """Runs from its making on.

    It measures what computing takes here and now, and is no clock of a run: nothing that it says is fit for a decision
    other than to stop searching.

    Parameters
    ----------
    budget_s : float
        Seconds until it is over, >= 0.
    """

    def __init__(self, budget_s: float) -> None:
        self.budget_s = budget_s
        self._start_s = time.perf_counter()

    @property
    def spent_s(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._start_s

    @property
    def left_s(self) -> float:
        """Seconds of the budget that are left, >= 0."""
        return max(self.budget_s - self.spent_s, 0.0)

    @property
    def is_over(self) -> bool:
        """Whether the budget is spent."""
        return self.spent_s >= self.budget_s
