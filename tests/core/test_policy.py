"""Following a plan, and planning again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headway.core.actions import Action, Preempt, Start, Wake
from headway.core.drivers import simulate
from headway.core.errors import PlanError, PolicyFailed
from headway.core.events import Arrived, Event, Failed, Finished, Refused, Woke
from headway.core.nouns import Seconds, Work
from headway.core.policy import FollowPlan, Plan
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.core.view import Board
from twin.machines import Job, MachineWorld, machines


class Planned:
    """Plans what it is told to, and keeps the problems it saw."""

    def __init__(self, *plans: tuple[tuple[Seconds, Action], ...]) -> None:
        self.plans = list(plans)
        self.problems: list[float] = []

    def plan(self, problem: float, *, budget_s: Seconds, rng: np.random.Generator) -> Plan:
        self.problems.append(problem)
        assert budget_s == 0.5
        if not self.plans:
            raise PlanError("no plan")
        return Plan(self.plans.pop(0), cost=0.0)


Follow = FollowPlan[Board, float]


def follow(planner: Any, **more: Any) -> tuple[Follow, Board]:
    policy: Follow = FollowPlan(planner=planner, pose=lambda view: view.now_s, budget_s=0.5, **more)
    policy.reset(np.random.default_rng(0))
    return policy, Board([])


def tell(policy: Follow, view: Board, event: Event) -> list[Action]:
    view.now_s = event.at_s
    return list(policy.decide(event, view))


def arrived(at_s: float) -> Arrived:
    return Arrived(at_s=at_s, work=Work(id="w", kind="job", arrival_s=at_s))


A, B, C = Preempt("a"), Preempt("b"), Preempt("c")


def test_actions_are_taken_when_they_are_due() -> None:
    policy, view = follow(Planned(((2.0, B), (0.0, A), (5.0, C))))
    assert tell(policy, view, arrived(0.0)) == [A, Wake(2.0, "plan-1")]
    assert tell(policy, view, Woke(at_s=2.0, tag="plan-1")) == [B, Wake(5.0, "plan-1")]
    assert tell(policy, view, Woke(at_s=5.0, tag="plan-1")) == [C]


def test_actions_that_are_late_are_taken_together() -> None:
    policy, view = follow(Planned(((1.0, A), (2.0, B), (9.0, C))))
    assert tell(policy, view, arrived(0.0)) == [Wake(1.0, "plan-1")]
    assert tell(policy, view, Finished(at_s=3.0, id="x")) == [A, B, Wake(9.0, "plan-1")]


BROKE = Failed(at_s=1.0, id="x", why="broke")
REFUSED = Refused(at_s=1.0, action="Start", id="x", why="no")


@pytest.mark.parametrize("surprise", [arrived(1.0), BROKE, REFUSED])
def test_a_surprise_means_a_new_plan_and_old_wakes_are_ignored(surprise: Event) -> None:
    planner = Planned(((2.0, A),), ((1.0, B), (4.0, C)))
    policy, view = follow(planner)
    tell(policy, view, arrived(0.0))
    assert tell(policy, view, surprise) == [B, Wake(4.0, "plan-2")]
    assert planner.problems == [0.0, 1.0]
    assert tell(policy, view, Woke(at_s=2.0, tag="plan-1")) == []
    assert tell(policy, view, Woke(at_s=4.0, tag="plan-2")) == [C]


def test_news_that_was_to_be_expected_means_no_new_plan() -> None:
    planner = Planned(((2.0, A),))
    policy, view = follow(planner)
    tell(policy, view, arrived(0.0))
    assert tell(policy, view, Finished(at_s=1.0, id="x")) == [Wake(2.0, "plan-1")]
    assert len(planner.problems) == 1


def test_without_replanning_the_first_plan_is_kept() -> None:
    planner = Planned(((2.0, A),))
    policy, view = follow(planner, replan=False)
    tell(policy, view, arrived(0.0))
    assert tell(policy, view, arrived(1.0)) == [Wake(2.0, "plan-1")]
    assert len(planner.problems) == 1


def test_reset_forgets_the_plan() -> None:
    planner = Planned(((2.0, A),), ((3.0, B),))
    policy, view = follow(planner)
    tell(policy, view, arrived(0.0))
    policy.reset(np.random.default_rng(0))
    assert tell(policy, view, Finished(at_s=0.0, id="x")) == [Wake(3.0, "plan-1")]


def test_no_plan_ends_the_run() -> None:
    policy, view = follow(Planned())
    with pytest.raises(PolicyFailed, match=r"FollowPlan: failed on Arrived .* PlanError: no plan"):
        Session(policy, view).feed(arrived(0.0))


class LongestFirst:
    """Plans to start all that waits, longest first, one after the other on one machine, as estimated."""

    def plan(self, problem: Board, *, budget_s: Seconds, rng: np.random.Generator) -> Plan:
        at_s, steps = problem.now_s + len(problem.running), []  # who runs is thought to need another second
        for work in sorted(problem.waiting.values(), key=lambda work: -(work.size or 0.0)):
            steps.append((at_s, Start(work.id, {"m0": {"slot": 1.0}})))
            at_s += work.size or 0.0
        return Plan(tuple(steps), cost=at_s)


def test_a_plan_meets_a_world_that_departs_from_it() -> None:
    """Work takes longer than estimated: starts are refused while the machine is taken, and planned again."""
    jobs = [
        Job(Work(id=f"j{n}", kind="job", arrival_s=0.0, needs={"slot": 1.0}, size=float(n)), takes_s=2.25 * n)
        for n in (1, 2, 3)
    ]
    world = MachineWorld(jobs, machines(1, 1.0))
    policy = FollowPlan(planner=LongestFirst(), pose=_whole)
    trace = MemoryTrace()
    report = simulate(world, policy, session=Session(policy, world.view, trace=trace))
    finished = [record.id for record in trace.records if isinstance(record, Finished)]
    assert finished == ["j1", "j3", "j2"]  # j1 was alone when it came
    assert report.num_refused > 2


def _whole(view: Board) -> Board:
    return view
