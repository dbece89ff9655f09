"""Following a plan where things come otherwise: its order stays, its times shift, until it is made anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from headway.core.actions import Action, Start, Wake
from headway.core.errors import ConfigError, HeadwayError, PlanError
from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.core.policy import Plan, Planner
from headway.policies.shop.board import ShopView
from headway.policies.shop.dispatching import Dispatching
from headway.policies.shop.nouns import TaskDone
from headway.policies.shop.problem import Problem
from headway.policies.shop.round import Round
from headway.policies.shop.seats_dispatch import Ready, Rule
from headway.policies.shop.states import READY, RUNNING, WAITING, TaskState

TINY = 1e-9
Replan: TypeAlias = Literal["never", "on-change", "when-late"]


class MostWorkLeft:
    """The rule by which work begins that no plan speaks of."""

    dynamic = False

    def key(self, ready: Ready, now_s: Seconds) -> float:
        """Return less for a job of which more is left."""
        return -ready.work_left_s


class Step:
    """What a plan says of one task, with times in seconds since the start of the run."""

    __slots__ = ("end_s", "start", "start_s")

    def __init__(self, start: Start, start_s: Seconds) -> None:
        self.start = start
        self.start_s = start_s
        self.end_s = start_s


class Following:
    """Carries out the plan of a planner: its order on every machine and its choice of modes.

    Times are not kept: a task begins as soon as it is ready and all that come before it on its machines have begun, be
    it later than planned or sooner. Where it would run into a known downtime it waits for its time. The core's
    `FollowPlan` keeps times, as suits plans of things that nothing disturbs; in a shop a late task would make it start
    others on machines that are not free yet.

    Parameters
    ----------
    planner : Planner
        Who plans; a solver becomes one as ``AsPlanner(solver=...)``.
    budget_s : float
        Computing time of each plan, in seconds, >= 0; 0.1 by default.
    replan : str
        When there is a new plan. ``"on-change"``, the default: when a job arrives, a machine goes down or comes back,
        or a task ends late. ``"when-late"``: when a job arrives or a task ends late. ``"never"``: what the first plan
        does not speak of begins where the plan leaves a machine free.
    late_frac : float
        Which share of the length of the plan a task may be late by, >= 0; 0.1 by default.
    rule : Rule or None
        By which tasks begin while there is no plan, because the planner found none in time; most work left by default.
    name : str
        In traces and reports.

    Raises
    ------
    ConfigError
        When a number is out of its range.
    """

    def __init__(
        self,
        *,
        planner: Planner[Problem],
        budget_s: Seconds = 0.1,
        replan: Replan = "on-change",
        late_frac: float = 0.1,
        rule: Rule | None = None,
        name: str = "",
    ) -> None:
        if not (budget_s >= 0 and late_frac >= 0):
            got = f"{budget_s} and {late_frac}"
            raise ConfigError(f"shop/follow: budget_s and late_frac must be >= 0, got {got}. Try 0.1 for both.")
        self.planner = planner
        self.budget_s = budget_s
        self.replan: Replan = replan
        self.late_frac = late_frac
        self.rule = rule
        self.name = name or f"Following({type(planner).__name__})"

    def reset(self, rng: np.random.Generator) -> None:
        """Drop the plan in hand."""
        self._rng = rng
        self._dispatch = Dispatching(rule=self.rule or MostWorkLeft())
        self._dispatch.reset(rng)
        self._steps: dict[Id, Step] = {}
        self._orders: dict[Id, deque[Id]] = {}
        self._slack_s: Seconds = 0.0
        self._waits = False  # whether a task waits for its time
        self._is_lost = False  # whether the planner found nothing, and there is no plan
        self._planned: set[Id] = set()  # tasks in these orders
        self._asked: set[Seconds] = set()  # times for which a wake-up has been asked
        self._seen = (0, 0)
        self._is_late = False
        self.num_plans = 0

    def decide(self, event: Event, view: ShopView) -> Sequence[Action]:
        """Start what the plan has next on every machine, after planning again where there is reason to."""
        if type(event) is TaskDone:
            self._note_end(event)
        if self._wants_plan(view):
            self._make_plan(view)
        if not view.open:
            return ()
        if self._is_lost:
            return self._dispatch.decide(event, view)
        actions = self._due(view)
        if actions or view.running or self._waits or _something_comes(view):
            return actions
        return self._dispatch.decide(event, view)  # the plan is stuck: nothing runs, and it lets nothing begin

    # When to plan -------------------------------------------------------------------------------------------------

    def _note_end(self, event: TaskDone) -> None:
        self._is_late = self._is_late or self._is_late_at(event.at_s, event.task)
        self._steps.pop(event.task, None)

    def _is_late_at(self, now_s: Seconds, task: Id) -> bool:
        """Whether a task should have been complete for a good while."""
        step = self._steps.get(task)
        return step is not None and now_s > step.end_s + self._slack_s + TINY

    def _wants_plan(self, view: ShopView) -> bool:
        seen = (view.num_arrived, view.num_changes)
        has_arrived, has_changed = (now != then for now, then in zip(seen, self._seen, strict=True))
        if not self.num_plans:
            return bool(view.jobs)
        self._seen = seen
        if self.replan == "never":
            return False
        if has_arrived or self._is_late or (has_changed and self.replan == "on-change"):
            return True
        return any(self._is_late_at(view.now_s, task) for task in view.running)

    def _make_plan(self, view: ShopView) -> None:
        self._seen = (view.num_arrived, view.num_changes)
        self._is_late = False
        if all(state.status >= RUNNING for job in view.jobs.values() for state in job.tasks):
            return
        problem, is_first = view.problem(), not self.num_plans
        self.num_plans += 1
        try:
            plan = self.planner.plan(problem, budget_s=self.budget_s, rng=self._rng)
        except PlanError:
            self._is_lost = True
        except HeadwayError:
            if is_first:  # a planner that is not made for this shop; later it may be what has happened meanwhile
                raise
            self._is_lost = True
        else:
            self._is_lost = False
            self._take(plan, view)

    def _take(self, plan: Plan, view: ShopView) -> None:
        self._steps, self._orders = {}, {machine: deque() for machine in view.machines}
        self._planned = set()
        for at_s, action in _in_order(plan, view):
            step = self._steps[action.id] = Step(action, view.now_s + at_s)
            step.end_s += _duration_s(view.tasks[action.id], action)
            for machine in action.on:
                self._orders[machine].append(action.id)
                self._planned.add(action.id)
        for state in view.running.values():
            step = self._steps[state.id] = Step(Start(state.id, state.way.on), state.start_s)
            step.end_s = max(state.planned_s, view.now_s)
        length_s = max((step.end_s for step in self._steps.values()), default=view.now_s) - view.now_s
        self._slack_s = self.late_frac * length_s

    # What the plan says -------------------------------------------------------------------------------------------

    def _due(self, view: ShopView) -> list[Action]:
        this, wakes = Round(view), set[Seconds]()
        todo = [machine for machine in view.machines.values() if machine.is_up and machine.free > 0]
        while todo:
            machine = todo.pop()
            task = self._head(machine.id, view, this)
            option = self._startable(task, view, this) if task else None
            if option is None:
                continue
            wait_s = self._wait_s(option, view)
            if wait_s > view.now_s:
                wakes.add(wait_s)
                continue
            this.start(option)
            todo += [view.machines[name] for name in option.on]
        self._waits = bool(wakes)
        self._fill_up(view, this)
        new = sorted(wakes - self._asked)
        self._asked.update(new)
        return [*this.actions, *(Wake(at_s, "its time") for at_s in new)]

    def _head(self, machine: Id, view: ShopView, this: Round) -> Id:
        """Return the next task that a machine is to begin, or nothing."""
        order = self._orders.get(machine, deque())
        while order and not _is_to_come(order[0], view):
            self._planned.discard(order.popleft())
        return next((task for task in order if task not in this.taken and _is_to_come(task, view)), "")

    def _startable(self, task: Id, view: ShopView, this: Round) -> Ready | None:
        """Return a task in its planned mode, when it could begin and is next on all of its machines."""
        state = view.tasks[task]
        if state.status != READY:
            return None
        option = _as_planned(state, self._steps[task].start)
        fits = all(this.has_room(view.machines[m]) and self._head(m, view, this) == task for m in option.on)
        return option if fits and this.fits(option, view.machines[option.machine]) else None

    def _wait_s(self, option: Ready, view: ShopView) -> Seconds:
        """Return until when a task waits that would run into a known downtime and has time; else 0."""
        start_s, end_s = self._steps[option.task].start_s, view.now_s + option.duration_s
        for down in view.downtimes:
            is_met = any(view.machines[name].place == down.resource for name in option.on)
            if is_met and start_s > view.now_s and down.start < end_s and down.end > view.now_s:
                return start_s
        return 0.0

    def _fill_up(self, view: ShopView, this: Round) -> None:
        """Start what needs no machine, and what no plan speaks of where the plan has nothing that could begin."""
        for machine in sorted(view.open.values(), key=lambda machine: machine.place):
            task = self._head(machine.id, view, this) if machine.place >= 0 else ""
            if self._waits or (task and view.tasks[task].status == READY):
                continue
            free = [o for o in machine.queue.values() if machine.place < 0 or o.task not in self._planned]
            for option in sorted(free, key=_most_left_first):
                if option.task not in this.taken and this.has_room(machine) and this.fits(option, machine):
                    this.start(option)


def _something_comes(view: ShopView) -> bool:
    """Whether a machine is to come back, or a task to be released."""
    is_down = len(view.resources) < len(view.machines)
    return is_down or any(s.status == WAITING and not s.num_before for s in view.tasks.values())


def _is_to_come(task: Id, view: ShopView) -> bool:
    """Whether a task is here and has not begun."""
    state = view.tasks.get(task)
    return state is not None and state.status < RUNNING


def _most_left_first(option: Ready) -> tuple[float, int]:
    return -option.work_left_s, option.number


def _as_planned(state: TaskState, start: Start) -> Ready:
    """Return the mode that a plan has chosen."""
    return next((option for option in state.options if option.on == start.on), state.options[0])


def _duration_s(state: TaskState, start: Start) -> Seconds:
    found = [m.duration for m, way in zip(state.task.modes, state.ways, strict=True) if way.on == start.on]
    return float(min(found, default=state.task.modes[0].duration))


def _in_order(plan: Plan, view: ShopView) -> list[tuple[Seconds, Start]]:
    """Return the starts of a plan in order; of several at one time, those that take no time come first."""
    steps = [(at_s, action) for at_s, action in plan.steps if isinstance(action, Start) and action.id in view.tasks]

    def rank(step: tuple[Seconds, Start]) -> tuple[Seconds, Seconds, int]:
        state = view.tasks[step[1].id]
        return step[0], _duration_s(state, step[1]), -state.num_left

    return sorted(steps, key=rank)
