"""What a solver says while it searches, as progress in the problem's own units."""

from __future__ import annotations

from msgspec.structs import replace

from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.cp_objective import Scale
from headway.policies.shop.result import Progress
from headway.policies.shop.schedule import Schedule
from headway.policies.shop.seats import Tell


class Heard:
    """Keeps what the solver says on the way, and passes it on.

    Parameters
    ----------
    watch : Stopwatch
        For the times of news.
    tell : callable of (Progress) or None
        Told of all that is news.
    """

    def __init__(self, watch: Stopwatch, tell: Tell | None) -> None:
        self.watch = watch
        self.scale = Scale()
        self.history: list[Progress] = []
        self._tell = tell
        self._objective: float | None = None
        self.least: float | None = None  # the best bound

    def solution(self, objective: float, bound: float) -> None:
        """Hear of a schedule, in the solver's units."""
        self.told(objective / self.scale.per_one, self.scale.bound(bound))

    def bound(self, bound: float) -> None:
        """Hear of a bound, in the solver's units."""
        self.told(None, self.scale.bound(bound))

    def told(self, objective: float | None, bound: float | None, schedule: Schedule | None = None) -> None:
        """Note a schedule's cost, a bound, or both, where they are news."""
        before = (self._objective, self.least)
        if objective is not None and (self._objective is None or objective < self._objective):
            self._objective = objective
        if bound is not None and (self.least is None or bound > self.least):
            self.least = bound
        if (self._objective, self.least) != before:
            self.history.append(Progress(self.watch.spent_s, self._objective, self.least))
            if self._tell is not None:
                self._tell(replace(self.history[-1], schedule=schedule))
