"""Following the plans of any solver of the catalogue, in a shop where things come otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from headway.core import catalogue
from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Seconds
from headway.core.parameters import decode
from headway.policies.shop.board import ShopView
from headway.policies.shop.following import Following, Replan
from headway.policies.shop.planning import AsPlanner
from headway.policies.shop.seats import SOLVERS, Solver

Named: TypeAlias = str | dict[str, Any]
"""An id, or a table of an id and parameters."""


class Follow:
    """Plans with a solver, keeps to the order of the plan while times shift, and plans again when there is reason to.

    A task begins as soon as it is ready and all that come before it on its machines have begun. While the solver has
    found no plan in time, the task with the most work left of its job comes first.

    Parameters
    ----------
    planner : str or table
        Catalogue id of the solver, or a table of an id and parameters; ``"shop/headway"`` by default.
    budget_s : float
        Computing time of each plan, in seconds, >= 0; 0.1 by default. In virtual time it passes in no time.
    replan : str
        ``"on-change"``, the default: when a job arrives, a machine goes down or comes back, or a task ends late.
        ``"when-late"``: when a job arrives or a task ends late. ``"never"``: the first plan is kept.
    late_frac : float
        Which share of the length of the plan a task may be late by, >= 0; 0.1 by default.

    Source: right-shift rescheduling and event-driven rescheduling as surveyed in G. E. Vieira, J. W. Herrmann, E. Lin,
    "Rescheduling manufacturing systems: a framework of strategies, policies, and methods", Journal of Scheduling 6,
    2003.

    Faithful to the paper: it is a survey of such policies; thresholds and fall-backs are this project's.

    Cost: one solve per plan; between two plans the machines are looked at once per event.

    Raises
    ------
    ConfigError
        When there is no such solver, its parameters are wrong, or a number is out of its range.

    Examples
    --------
    >>> Follow(planner={"id": "shop/cp-sat", "workers": 1}, budget_s=0.5).replan
    'on-change'
    """

    name = "shop/follow"

    def __init__(
        self,
        *,
        planner: str | dict[str, Any] = "shop/headway",
        budget_s: Seconds = 0.1,
        replan: Replan = "on-change",
        late_frac: float = 0.1,
    ) -> None:
        if not (budget_s >= 0 and late_frac >= 0):
            got = f"{budget_s} and {late_frac}"
            raise ConfigError(f"shop/follow: budget_s and late_frac must be >= 0, got {got}. Try 0.1 for both.")
        solver_of(planner)  # what is wrong with it is better told now than at the first plan
        self.planner = planner
        self.budget_s = budget_s
        self.replan: Replan = replan
        self.late_frac = late_frac

    def reset(self, rng: np.random.Generator) -> None:
        """Drop the plan in hand."""
        self._following = Following(
            planner=AsPlanner(solver=solver_of(self.planner)),
            budget_s=self.budget_s,
            replan=self.replan,
            late_frac=self.late_frac,
        )
        self._following.reset(rng)

    def decide(self, event: Event, view: ShopView) -> Sequence[Action]:
        """Start what the plan has next on every machine, after planning again where there is reason to."""
        return self._following.decide(event, view)

    @property
    def num_plans(self) -> int:
        """How many plans there have been since the last reset."""
        return self._following.num_plans


def solver_of(named: Named) -> Solver:
    """Build the solver that a parameter names.

    Raises
    ------
    ConfigError
        When there is none, it is no solver of this family, or its parameters are wrong.
    """
    table = {"id": named} if isinstance(named, str) else dict(named)
    id_ = str(table.pop("id", ""))
    able = [row.id for row in catalogue.rows("shop") if row.seat in SOLVERS]
    if id_ not in able:
        raise ConfigError(f"shop/follow: planner must be one of {', '.join(able)}, got {id_!r}. Choose one of them.")
    solver: Solver = decode(catalogue.load(id_), table, where=id_)
    return solver
