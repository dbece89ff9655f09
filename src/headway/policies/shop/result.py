"""What came of a problem: status, schedule, objective, bound, and the way there."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from headway.policies.shop.schedule import Schedule

Status: TypeAlias = Literal["optimal", "feasible", "infeasible", "unknown"]


class Progress(Struct, frozen=True):
    """How far a search is.

    Parameters
    ----------
    at_s : float
        Seconds of computing so far.
    objective : float or None
        The best so far; None for none yet.
    bound : float or None
        No schedule costs less; None when nothing is proven.
    schedule : Schedule or None
        The best so far, where the solver has it at hand, so that nothing is lost when it is interrupted.
    """

    at_s: float
    objective: float | None = None
    bound: float | None = None
    schedule: Schedule | None = None


class Result(Struct, frozen=True, kw_only=True):
    """What a solver found.

    Parameters
    ----------
    solver : str
        Who.
    status : str
        ``"optimal"`` (proven), ``"feasible"`` (a schedule), ``"infeasible"`` (proven that there is none) or
        ``"unknown"`` (the budget ended first).
    schedule : Schedule or None
        The best found.
    objective : float or None
        What it costs.
    bound : float or None
        No schedule costs less; None when nothing is proven.
    took_s : float
        Seconds of computing.
    why : str
        Which rules contradict each other, when it is infeasible and the solver knows.
    history : tuple of Progress
        Each improvement of objective or bound, without schedules.
    """

    solver: str
    status: Status
    schedule: Schedule | None = None
    objective: float | None = None
    bound: float | None = None
    took_s: float = 0.0
    why: str = ""
    history: tuple[Progress, ...] = ()

    @property
    def gap_frac(self) -> float | None:
        """By which share of the objective the bound is lower; None when one of them is not known."""
        if self.objective is None or self.bound is None:
            return None
        return max(self.objective - self.bound, 0.0) / self.objective if self.objective else 0.0
