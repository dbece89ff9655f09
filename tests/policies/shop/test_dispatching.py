"""Dispatching: who comes first, without looking at everybody, whatever kind of rule it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings

from headway.core.actions import Action
from headway.core.events import Event, Refused, Woke
from headway.core.nouns import Seconds
from headway.policies.shop.board import ShopView
from headway.policies.shop.dispatching import Dispatching
from headway.policies.shop.making import flexible_job_shop, job_shop
from headway.policies.shop.problem import Job, Mode, Problem, Task
from headway.policies.shop.seats_dispatch import Ready
from sim.shop.shops import ShortestFirst, play, random_shop, rough_world, seeds, starts_of, world_of


class Changing(ShortestFirst):
    """The same rule, which says that its keys change: it must come to the same."""

    dynamic = True


class Random:
    """Throws dice."""

    dynamic = False

    def reset(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def key(self, ready: Ready, now_s: Seconds) -> float:
        return float(self.rng.random())


class AboveMean:
    """Puts first what is longest, and keeps the means of the queues that it has looked at."""

    dynamic = True

    def __init__(self) -> None:
        self.means: list[float] = []

    def look(self, queue: Sequence[Ready], now_s: Seconds) -> None:
        self.means.append(sum(ready.duration_s for ready in queue) / len(queue))

    def key(self, ready: Ready, now_s: Seconds) -> float:
        return -ready.duration_s


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_keys_that_are_kept_and_keys_that_are_asked_for_anew_decide_the_same(seed: int) -> None:
    kept, anew = (starts_of(play(rough_world(seed), Dispatching(rule=r))[1]) for r in (ShortestFirst(), Changing()))
    assert kept == anew


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_no_machine_waits_that_has_a_task(seed: int) -> None:
    class Watched(Dispatching):
        def decide(self, event: Event, view: ShopView) -> Sequence[Action]:
            actions = super().decide(event, view)
            started = {action.subject for action in actions}
            for machine in view.open.values() if not actions else ():
                assert not any(view.fits(r) for r in machine.queue.values() if r.task not in started)
            return actions

    play(rough_world(seed), Watched(rule=ShortestFirst()))


def test_the_shortest_comes_first_and_ties_go_to_who_came_first() -> None:
    queue = job_shop("queue", [[(0, 5)], [(0, 3)], [(0, 3)], [(0, 9)], [(0, 1)]])
    _, records = play(world_of(queue), Dispatching(rule=ShortestFirst()))
    assert [start.id for _, start in starts_of(records)] == ["J4.0", "J1.0", "J2.0", "J0.0", "J3.0"]


def test_a_task_with_a_choice_begins_once() -> None:
    two = flexible_job_shop("two", [[[(0, 5), (1, 4)]], [[(0, 2), (1, 3)]]])
    _, records = play(world_of(two), Dispatching(rule=ShortestFirst()))
    assert [(start.id, list(start.on)) for _, start in starts_of(records)] == [("J1.0", ["M0"]), ("J0.0", ["M1"])]


def test_what_does_not_fit_lets_others_pass_and_keeps_its_place() -> None:
    tasks = [Task((Mode(4, ((0, 2),)),)), Task((Mode(1, ((0, 2),)),), job=1), Task((Mode(6, ((0, 1),)),), job=2)]
    wide = Problem(name="wide", tasks=tuple(tasks), jobs=(Job(),) * 3, capacity=(3,))
    _, records = play(world_of(wide), Dispatching(rule=ShortestFirst()))
    assert [(at_s, start.id) for at_s, start in starts_of(records)] == [(0.0, "J1.0"), (0.0, "J2.0"), (1.0, "J0.0")]


def test_a_rule_sees_the_queue_before_its_keys_are_asked_for() -> None:
    rule = AboveMean()
    play(world_of(job_shop("queue", [[(0, 5)], [(0, 3)]])), Dispatching(rule=rule))
    assert rule.means == [4.0, 3.0]


def test_a_rule_that_throws_dice_throws_the_same_for_the_same_seed() -> None:
    def order(seed: int) -> list[tuple[float, str]]:
        records = play(world_of(random_shop(0, 8, 3)), Dispatching(rule=Random()), seed)[1]
        return [(at_s, start.id) for at_s, start in starts_of(records)]

    assert order(1) == order(1)
    assert any(order(1) != order(other) for other in range(2, 6))


def test_one_that_comes_late_finds_what_is_ready() -> None:
    world = world_of(random_shop(0))
    world.next()
    first, late = Dispatching(rule=ShortestFirst()), Dispatching(rule=ShortestFirst())
    for policy in (first, late):
        policy.reset(np.random.default_rng(0))
    for action in first.decide(Woke(at_s=0.0), world.view):
        assert world.apply(action) is None
    while (event := world.next()) is not None:
        heard = late.decide(event, world.view)
        for action in heard:
            assert world.apply(action) is None
    assert not world.view.jobs


def test_what_is_refused_is_tried_again() -> None:
    world = world_of(job_shop("one", [[(0, 5)]]))
    policy = Dispatching(rule=ShortestFirst())
    policy.reset(np.random.default_rng(0))
    (action,) = policy.decide(world.next() or Woke(at_s=0.0), world.view)
    assert policy.decide(Woke(at_s=0.0), world.view) == []
    refused = Refused(at_s=0.0, action="Start", id=action.subject, why="not now")
    assert policy.decide(refused, world.view) == [action]
