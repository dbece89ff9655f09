"""Following a plan: its order stays, its times shift, and it is made anew when there is reason to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.core.events import Finished
from headway.core.policy import Plan
from headway.core.session import policy_stream
from headway.policies.shop.arriving import ids_of
from headway.policies.shop.checking import check, in_order
from headway.policies.shop.dispatching import Dispatching
from headway.policies.shop.follow import Follow
from headway.policies.shop.following import Following
from headway.policies.shop.making import job_shop
from headway.policies.shop.nouns import ShopJob
from headway.policies.shop.planning import AsPlanner, no_schedule
from headway.policies.shop.problem import Downtime, Problem
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule, faults, objective
from headway.sim.shop.breakdowns import Breakdown
from headway.sim.shop.instances.door import read_one
from headway.sim.shop.instances.shipped import shipped
from sim.shop.shops import (
    ShortestFirst,
    assert_kept,
    assert_nothing_began_on_what_was_down,
    play,
    random_shop,
    rough_world,
    schedule_of,
    seeds,
    starts_of,
    world_of,
)


class Serial:
    """Places tasks one after the other, in a random order that keeps precedence, each as early as it fits.

    Schedules are active: no task could be earlier without another being later.
    """

    def __init__(self, wait: int = 0) -> None:
        self.num_asked = 0
        self.wait = wait  # how much later than it could each task of the first plan begins
        self.problems: list[Problem] = []

    def solve(self, problem: Problem, *, budget_s: float, rng: np.random.Generator, **more: Any) -> Result:
        self.num_asked += 1
        self.problems.append(problem)
        check(problem)
        ranks, done = rng.random(problem.num_tasks), dict[int, int]()
        taken: list[tuple[int, int, int, int]] = [(d.resource, d.start, d.end, 99) for d in problem.downtimes]
        starts, modes = [0] * problem.num_tasks, [0] * problem.num_tasks
        open_ = set(range(problem.num_tasks))
        in_order(problem)
        while open_:
            free = [n for n in open_ if all(b in done for b in problem.tasks[n].after)]
            fixed = [n for n in open_ if problem.tasks[n].fixed_start is not None]
            n = min(fixed or free, key=lambda n: float(ranks[n]))
            task = problem.tasks[n]
            modes[n] = int(rng.integers(len(task.modes)))
            mode = task.modes[modes[n]]
            start = max([task.release, *(done[b] for b in task.after)], default=0)
            if task.fixed_start is not None:
                start = task.fixed_start
            else:
                while not _fits(problem, mode.duration, mode.needs, start, taken):
                    start += 1
            starts[n], done[n] = start, start + mode.duration
            taken += [(r, start, done[n], amount) for r, amount in mode.needs]
            open_.remove(n)
        if self.num_asked == 1:
            starts = [start + self.wait for start in starts]
        schedule = Schedule(tuple(starts), tuple(modes))
        return Result(solver="serial", status="feasible", schedule=schedule, objective=objective(problem, schedule))


def _fits(problem: Problem, duration: int, needs: Any, start: int, taken: list[tuple[int, int, int, int]]) -> bool:
    for at in range(start, start + duration):
        for resource, amount in needs:
            used = sum(a for r, s, e, a in taken if r == resource and s <= at < e)
            if used + amount > problem.capacity[resource]:
                return False
    return True


class Never:
    """Finds nothing in time."""

    def plan(self, problem: Problem, *, budget_s: float, rng: np.random.Generator) -> Plan:
        raise no_schedule(problem, Result(solver="never", status="unknown"))


class Unable:
    """Cannot treat what it is given once it has been asked `num` times."""

    def __init__(self, num: int) -> None:
        self.num = num
        self.able = AsPlanner(solver=Serial())

    def plan(self, problem: Problem, *, budget_s: float, rng: np.random.Generator) -> Plan:
        self.num -= 1
        if self.num < 0:
            raise ConfigError("test: problem must be simple, got another. Take another planner.")
        return self.able.plan(problem, budget_s=budget_s, rng=rng)


def following(solver: Serial, **more: Any) -> Following:
    return Following(planner=AsPlanner(solver=solver), **more)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_without_disturbances_the_plan_comes_true(seed: int) -> None:
    # Tasks that take no time may lie within others in a plan; in a shop they need the machine.
    problem, solver = random_shop(seed, shortest=1), Serial()
    report, records = play(world_of(problem), following(solver))
    played = schedule_of(problem, records, ids_of(problem))
    assert solver.num_asked == 1
    assert faults(problem, played) == []
    assert not report.num_refused
    # The same dice as the policy had: its plan, which is active, so that nothing can begin sooner.
    again = Serial().solve(solver.problems[0], budget_s=1, rng=policy_stream(0))
    assert again.schedule is not None
    assert objective(problem, played) == objective(solver.problems[0], again.schedule)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_everything_ends_whatever_breaks_and_whenever_there_is_a_new_plan(seed: int) -> None:
    for replan in ("never", "on-change", "when-late"):
        report, records = play(rough_world(seed), following(Serial(), replan=replan))
        assert_kept(random_shop(seed), records)
        assert_nothing_began_on_what_was_down(records)
        assert not report.num_refused, report.refused


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_what_planners_are_asked_makes_sense_at_any_time(seed: int) -> None:
    solver = Serial()  # it checks every problem that it is given
    play(rough_world(seed), following(solver, late_frac=0.0))
    assert solver.num_asked >= 2
    for problem in solver.problems:
        solved = Serial().solve(problem, budget_s=1, rng=np.random.default_rng(1))
        assert solved.schedule is not None
        overlaps = [text for text in faults(problem, solved.schedule) if "taken" in text]
        assert not overlaps, overlaps


def test_a_plan_is_made_anew_when_something_changes() -> None:
    shop = job_shop("shop", [[(0, 6), (1, 6)], [(1, 6), (0, 6)], [(0, 5)]])
    breakdown = [Breakdown(machine="M0", at_s=3.0, lasts_s=2.0)]

    def plans(**more: Any) -> int:
        policy = following(Serial(), **more)
        play(world_of(shop, arrivals_s=(0.0, 0.0, 4.0), breakdowns=breakdown), policy)
        return policy.num_plans

    assert plans(replan="never") == 1
    assert plans(replan="on-change", late_frac=10.0) == 1 + 2 + 1
    assert plans(replan="when-late", late_frac=10.0) == 1 + 1
    assert plans(replan="when-late", late_frac=0.01) > 2


def test_a_task_begins_sooner_than_planned_when_nothing_is_in_its_way() -> None:
    shop = job_shop("shop", [[(0, 6), (1, 6)]])
    _, records = play(world_of(shop), following(Serial(wait=7)))
    assert [at_s for at_s, _ in starts_of(records)] == [0.0, 6.0]


def test_a_task_waits_for_its_time_when_it_would_run_into_a_known_downtime() -> None:
    shop = job_shop("shop", [[(0, 6)]])
    _, records = play(world_of(shop, downtimes=(Downtime(0, 4, 9),)), following(Serial()))
    assert [(at_s, start.id) for at_s, start in starts_of(records)] == [(9.0, "J0.0")]
    assert [record.at_s for record in records if isinstance(record, Finished)] == [15.0]


def test_without_a_plan_a_rule_decides() -> None:
    for seed in range(6):
        _report, records = play(world_of(random_shop(seed)), Following(planner=Never(), rule=ShortestFirst()))
        _, expected = play(world_of(random_shop(seed)), Dispatching(rule=ShortestFirst()))
        assert starts_of(records) == starts_of(expected)


def test_a_planner_that_cannot_treat_the_shop_is_an_error_at_once_and_later_a_reason_to_dispatch() -> None:
    with pytest.raises(Exception, match="problem must be simple"):
        play(rough_world(6), Following(planner=Unable(0)))
    _, records = play(rough_world(6), Following(planner=Unable(1)))
    assert_kept(random_shop(6), records)


def test_numbers_out_of_range_are_one_sentence() -> None:
    with pytest.raises(ConfigError, match="budget_s and late_frac must be >= 0"):
        Following(planner=Never(), budget_s=-1.0)


def test_a_recipe_names_the_planner_with_its_parameters() -> None:
    named = {"id": "shop/cp-sat", "workers": 1}
    policy = catalogue.build("shop/follow", {"planner": named, "budget_s": "200ms"})
    assert isinstance(policy, Follow)
    problem = random_shop(4, shortest=1)
    report, records = play(world_of(problem), policy)
    assert faults(problem, schedule_of(problem, records, ids_of(problem))) == []
    assert report.policy == "shop/follow"


def test_a_planner_that_plans_nothing_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="planner must be one of"):
        catalogue.build("shop/follow", {"planner": "shop/follow"})
    with pytest.raises(ConfigError, match="no_such"):
        catalogue.build("shop/follow", {"planner": {"id": "shop/cp-sat", "no_such": 1}})


def test_the_best_plan_of_a_classic_comes_true() -> None:
    problem = read_one(shipped()["ft06"])
    policy = Follow(planner={"id": "shop/cp-sat", "workers": 1}, budget_s=20.0)
    _, records = play(world_of(problem), policy)
    assert max(record.at_s for record in records if isinstance(record, Finished)) == 55.0
    assert policy.num_plans == 1


def test_a_task_that_does_not_end_is_noticed() -> None:
    shop = job_shop("shop", [[(0, 4), (1, 4)], [(1, 30)], [(2, 1), (2, 1), (2, 1), (2, 1), (2, 1), (2, 20)]])

    class FirstIsSlow:
        def factors(self, job: ShopJob, rng: np.random.Generator) -> list[float]:
            return [5.0 if job.id == "J0" else 1.0] * len(job.tasks)

    world, policy = world_of(shop, truth=FirstIsSlow()), following(Serial(), late_frac=0.0)
    policy.reset(np.random.default_rng(0))
    while (event := world.next()) is not None and world.view.now_s < 20.0:
        for action in policy.decide(event, world.view):
            assert world.apply(action) is None
    assert policy.num_plans > 1  # though nothing has ended late yet
