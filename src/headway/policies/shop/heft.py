"""HEFT for jobs that keep coming: everything that waits is planned again whenever one arrives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from headway.core.actions import Action, Start
from headway.core.errors import ConfigError
from headway.core.events import Arrived, Event
from headway.policies.shop.soc_board import NOWHERE, SocView
from headway.policies.shop.soc_nouns import SLOT, task_id
from headway.policies.shop.soc_plan import Planned, heft
from headway.policies.shop.soc_rules import RULES


class Heft:
    """Gives tasks to processing elements by a plan, or by a list rule.

    Parameters
    ----------
    rule : str
        ``"heft"``: the highest upward rank first, each task in the first gap where it is over soonest; a plan of all
        jobs at once, made at every arrival and followed in its order on every element. Baselines without a plan, which
        give each task away as soon as it is ready (but see `hold`): ``"etf"``, ``"eft"``, ``"met"``, ``"stf"`` and
        ``"random"``; see `headway.policies.shop.soc_rules`.
    hold : bool
        Whether list rules give tasks to elements that have nothing else alone, and decide about the others again at the
        next event; False. A plan does so anyway.

    Raises
    ------
    ConfigError
        When there is no such rule.

    Notes
    -----
    Source: Topcuoglu, Hariri, Wu, "Performance-Effective and Low-Complexity Task Scheduling for Heterogeneous
    Computing", 2002, IEEE TPDS 13(3).

    Faithful to the paper: upward ranks over mean times and transfers, insertion into gaps, the table of the paper gives
    its schedule of 80. Added, for a stream of jobs: the plan is made anew at each arrival from what elements have
    begun, and expected times stand for true ones; a task is given to an element when the element has nothing else, so
    that the next plan can still move it. The paper breaks ties of ranks by chance; here the later task is first.

    Cost: a plan takes O(tasks x elements x tasks of an element); a list rule O(ready tasks x elements) per task.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.shop.soc_world import small_world
    >>> simulate(small_world(seed=0)[0], Heft()).num_refused
    0
    """

    def __init__(
        self, *, rule: Literal["heft", "etf", "eft", "met", "stf", "random"] = "heft", hold: bool = False
    ) -> None:
        self.rule = rule
        self.hold = hold
        if rule != "heft" and rule not in RULES:
            raise ConfigError(f"shop/heft: rule must be heft or one of {', '.join(RULES)}, got {rule!r}. Try heft.")
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Drop the plan in hand."""
        self._rng = rng
        self._plan: list[list[Planned]] = []

    def decide(self, event: Event, view: SocView) -> Iterable[Action]:
        """Plan when a job has arrived; give elements what they are to run."""
        if self.rule != "heft":
            draft = view.draft(self.hold)
            RULES[self.rule](draft, self._rng)
            return draft.actions
        if isinstance(event, Arrived):
            # The first is last, where it is taken off.
            self._plan = [row[::-1] for row in heft(view.jobs.values(), view.lanes, view.now_s)]
        return list(self._follow(view))

    def _follow(self, view: SocView) -> Iterator[Action]:
        """Start the next of the plan on each element that has nothing, if its parents are done."""
        for lane, row in zip(view.lanes, self._plan, strict=False):
            while row and not self._waits(row[-1], view):
                row.pop()
            if row and lane.running is None and not lane.queue and row[-1].task in view.jobs[row[-1].job].ready:
                yield Start(task_id(row[-1].job, row[-1].task), {lane.id: {SLOT: 1.0}})

    def _waits(self, planned: Planned, view: SocView) -> bool:
        state = view.jobs.get(planned.job)
        return state is not None and state.pe[planned.task] == NOWHERE
