"""Who decides: policies (online) and planners (offline), and how a plan becomes a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

import numpy as np
from msgspec import Struct

from headway.core.actions import Action, Wake
from headway.core.events import Arrived, Changed, Event, Failed, Refused, Woke
from headway.core.nouns import Seconds
from headway.core.view import View

V_contra = TypeVar("V_contra", bound=View, contravariant=True)
P_contra = TypeVar("P_contra", contravariant=True)
V = TypeVar("V", bound=View)
P = TypeVar("P")


class Policy(Protocol[V_contra]):
    """A pure decider: it sees events and a read-only view, and answers with actions.

    A session is the only caller. It calls `reset` once before the first event, then `decide` once per event, never
    twice at a time. A policy has no clock (it reads ``event.at_s`` and ``view.now_s``, and asks for time with
    `Wake`), does no I/O, and draws randomness only from the generator given to `reset`. Its constructor takes
    keywords only, stores them under their own names and does no work.
    """

    def reset(self, rng: np.random.Generator) -> None:
        """Forget everything learnt so far; keep `rng` for all later randomness."""

    def decide(self, event: Event, view: V_contra) -> Iterable[Action]:
        """Answer one event with the actions to take now, in order."""


class Plan(Struct, frozen=True):
    """Actions with the times at which to take them.

    Parameters
    ----------
    steps : tuple of (float, Action)
        Times in seconds since the start of the run, non-decreasing.
    cost : float
        The objective's value under this plan.
    bound : float or None
        A proven lower bound of the cost, when the planner has one.
    """

    steps: tuple[tuple[Seconds, Action], ...]
    cost: float
    bound: float | None = None


class Planner(Protocol[P_contra]):
    """An offline decider: it sees a whole problem and answers with a plan."""

    def plan(self, problem: P_contra, *, budget_s: Seconds, rng: np.random.Generator) -> Plan:
        """Plan `problem` within `budget_s` seconds of computing; raises `PlanError` when there is no plan."""


class FollowPlan(Generic[V, P]):
    """A policy that carries out a planner's plan, and plans again when the world departs from it.

    Parameters
    ----------
    planner : Planner
        Who plans.
    pose : callable of (view) -> problem
        How the present view becomes the planner's problem.
    budget_s : float
        Computing time for each plan, in seconds, > 0; 1 by default.
    replan : bool
        Whether arrivals, failures, changes and refusals cause a new plan; True by default.
    """

    def __init__(
        self, *, planner: Planner[P], pose: Callable[[V], P], budget_s: Seconds = 1.0, replan: bool = True
    ) -> None:
        self.planner = planner
        self.pose = pose
        self.budget_s = budget_s
        self.replan = replan

    def reset(self, rng: np.random.Generator) -> None:
        """Drop the plan in hand."""
        self._rng = rng
        self._steps: list[tuple[Seconds, Action]] = []
        self._planned = False
        self._plan_number = 0

    def decide(self, event: Event, view: V) -> Iterator[Action]:
        """Take the actions that are due, and ask to be woken for the next one."""
        if isinstance(event, Woke) and event.tag != self._tag:
            return
        if not self._planned or (self.replan and isinstance(event, Arrived | Failed | Changed | Refused)):
            self._make_plan(view)
        yield from self._due(view.now_s)
        if self._steps:
            yield Wake(self._steps[0][0], self._tag)

    @property
    def _tag(self) -> str:
        return f"plan-{self._plan_number}"

    def _make_plan(self, view: V) -> None:
        plan = self.planner.plan(self.pose(view), budget_s=self.budget_s, rng=self._rng)
        self._steps = sorted(plan.steps, key=lambda step: step[0])
        self._planned = True
        self._plan_number += 1  # a wake-up asked for by an older plan is not for this one

    def _due(self, now_s: Seconds) -> Iterator[Action]:
        while self._steps and self._steps[0][0] <= now_s:
            yield self._steps.pop(0)[1]
