"""The best schedule so far of a search, what is proven, and the way there."""

from __future__ import annotations

from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Progress, Result, Status
from headway.policies.shop.schedule import Schedule, faults, objective
from headway.policies.shop.seats import Tell


class Incumbent:
    """Keeps the best of all schedules offered that have no fault.

    Parameters
    ----------
    problem : Problem
        What is solved.
    solver : str
        Who solves it.
    watch : Stopwatch
        Says when.
    tell : callable of (Progress) or None
        Told of every improvement.
    """

    def __init__(self, problem: Problem, solver: str, watch: Stopwatch, tell: Tell | None = None) -> None:
        self.problem = problem
        self.schedule: Schedule | None = None
        self.objective: float | None = None
        self.bound: float | None = None
        self.why = ""
        self._solver, self._watch, self._tell = solver, watch, tell
        self._history: list[Progress] = []
        self._heard: float | None = None

    @property
    def is_proven(self) -> bool:
        """Whether no schedule is better."""
        return self.objective is not None and self.bound is not None and self.objective <= self.bound

    def offer(self, schedule: Schedule | None) -> bool:
        """Take a schedule if it is better; returns whether it is."""
        if schedule is None:
            return False
        cost = objective(self.problem, schedule)
        if self.objective is not None and cost >= self.objective:
            return False
        wrong = faults(self.problem, schedule)
        if wrong:
            self.why = wrong[0]
            return False
        self.schedule, self.objective = schedule, cost
        if self._heard is None or cost < self._heard:
            self._heard = cost
            self._note(cost, schedule)
        return True

    def prove(self, bound: float | None) -> None:
        """Take a lower bound if it is better."""
        if bound is not None and (self.bound is None or bound > self.bound):
            self.bound = bound
            self._note(self._heard)

    def hear(self, news: Progress) -> None:
        """Take what another search tells, whose clock may have begun later; without a schedule it is passed on."""
        if news.bound is not None:
            self.prove(news.bound)
        if news.schedule is not None:
            self.offer(news.schedule)
        elif news.objective is not None and (self._heard is None or news.objective < self._heard):
            self._heard = news.objective
            self._note(news.objective)

    def infeasible(self, why: str) -> Result:
        """Return that there is no schedule."""
        return Result(
            solver=self._solver, status="infeasible", took_s=self._watch.spent_s, why=why, history=tuple(self._history)
        )

    def result(self) -> Result:
        """Return what there is."""
        status: Status = "unknown" if self.schedule is None else "optimal" if self.is_proven else "feasible"
        return Result(
            solver=self._solver,
            status=status,
            schedule=self.schedule,
            objective=self.objective,
            bound=self.bound,
            took_s=self._watch.spent_s,
            why=self.why if self.schedule is None else "",
            history=tuple(self._history),
        )

    def _note(self, cost: float | None, schedule: Schedule | None = None) -> None:
        at_s = self._watch.spent_s
        self._history.append(Progress(at_s, cost, self.bound))
        if self._tell is not None:
            self._tell(Progress(at_s, cost, self.bound, schedule))
