"""A shop in virtual time: nothing overlaps, precedence is kept, work is conserved, and all jobs end."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from headway.core.actions import Action, Preempt, Reject, Start, Wake
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Changed, Event, Failed, Finished, Woke
from headway.core.session import Session
from headway.core.trace import FileTrace, read_trace
from headway.policies.shop.arriving import ids_of, machines_of
from headway.policies.shop.board import ShopView
from headway.policies.shop.dispatching import Dispatching
from headway.policies.shop.making import job_shop
from headway.policies.shop.nouns import TaskDone, TaskReleased, TaskStopped
from headway.policies.shop.problem import Downtime, Job, Mode, Problem, Task
from headway.policies.shop.schedule import faults, job_ends
from headway.sim.shop.breakdowns import Breakdown, Failures
from headway.sim.shop.durations import Noise
from headway.sim.shop.world import ShopWorld
from sim.shop.shops import (
    RULES,
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

ONE = job_shop("one", [[(0, 10), (1, 5)]])
"""One job of two tasks."""


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_everything_ends_and_nothing_overlaps_whatever_breaks(seed: int) -> None:
    for rule in RULES:
        report, records = play(rough_world(seed), Dispatching(rule=rule))
        assert_kept(random_shop(seed), records)
        assert_nothing_began_on_what_was_down(records)
        assert not report.num_refused


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_a_run_without_disturbances_is_a_schedule_without_faults(seed: int) -> None:
    problem = random_shop(seed)
    _report, records = play(world_of(problem), Dispatching(rule=ShortestFirst()))
    schedule = schedule_of(problem, records, ids_of(problem))
    assert faults(problem, schedule) == []
    ends = {record.id: record.at_s for record in records if isinstance(record, Finished)}
    played = [ends.get(problem.job_name(job), 0.0) for job in range(len(problem.jobs))]
    assert played == job_ends(problem, schedule)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_the_same_seed_gives_the_same_trace(seed: int) -> None:
    one, two = (play(rough_world(seed), Dispatching(rule=ShortestFirst()))[1] for _ in range(2))
    assert one == two


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_work_is_conserved(seed: int) -> None:
    problem = random_shop(seed - seed % 3)  # one mode each, so that every policy has the same work
    world = world_of(problem, truth=Noise(0.5), failures=Failures(mtbf_s=20.0, repair_s=4.0))
    play(world, Dispatching(rule=ShortestFirst()))
    other = world_of(problem, truth=Noise(0.5))
    play(other, Dispatching(rule=RULES[1]))
    assert world.busy_s == pytest.approx(other.busy_s)


def test_without_noise_the_work_done_is_the_work_asked_for() -> None:
    problem = random_shop(30)
    world = world_of(problem, failures=Failures(mtbf_s=10.0, repair_s=4.0))
    play(world, Dispatching(rule=ShortestFirst()))
    asked = [0.0] * problem.num_resources
    for task in problem.tasks:
        asked[task.modes[0].needs[0][0]] += task.modes[0].duration
    assert world.busy_s == pytest.approx(asked)


def test_a_task_goes_on_where_it_was() -> None:
    world = world_of(ONE, breakdowns=[Breakdown(machine="M0", at_s=4.0, lasts_s=3.0)])
    _report, records = play(world, Dispatching(rule=ShortestFirst()))
    assert [(r.task, r.start_s, r.at_s) for r in records if isinstance(r, TaskDone)] == [
        ("J0.0", 0.0, 13.0), ("J0.1", 13.0, 18.0),
    ]  # fmt: skip
    assert [(r.at_s, r.up) for r in records if isinstance(r, Changed)] == [(4.0, False), (7.0, True)]
    assert world.busy_s == [10.0, 5.0]


def test_a_task_begins_anew() -> None:
    breakdowns = [Breakdown(machine="M0", at_s=4.0, lasts_s=3.0)]
    world = world_of(ONE, breakdowns=breakdowns, after_breakdown="restart")
    _, records = play(world, Dispatching(rule=ShortestFirst()))
    assert [(r.task, r.start_s, r.at_s) for r in records if isinstance(r, TaskStopped)] == [("J0.0", 0.0, 4.0)]
    assert [(at_s, start.id) for at_s, start in starts_of(records)] == [(0.0, "J0.0"), (7.0, "J0.0"), (17.0, "J0.1")]
    assert world.busy_s == [14.0, 5.0]


def test_a_gang_stands_still_when_one_of_its_machines_is_down() -> None:
    gang = Problem(name="gang", tasks=(Task((Mode(10, ((0, 1), (1, 1))),)),), jobs=(Job(),), capacity=(1, 1))
    breakdowns = [
        Breakdown(machine="M0", at_s=2.0, lasts_s=4.0),
        Breakdown(machine="M1", at_s=4.0, lasts_s=4.0),
    ]
    _, records = play(world_of(gang, breakdowns=breakdowns), Dispatching(rule=ShortestFirst()))
    assert [r.at_s for r in records if isinstance(r, TaskDone)] == [2.0 + 6.0 + 8.0]


def test_a_machine_down_for_two_reasons_is_back_after_both() -> None:
    world = world_of(ONE, breakdowns=[Breakdown(machine="M0", at_s=4.0, lasts_s=6.0)], downtimes=(Downtime(0, 2, 5),))
    _, records = play(world, Dispatching(rule=ShortestFirst()))
    assert [(r.at_s, r.up) for r in records if isinstance(r, Changed)] == [(2.0, False), (10.0, True)]


def test_a_task_that_ends_when_its_machine_breaks_down_has_ended() -> None:
    world = world_of(ONE, breakdowns=[Breakdown(machine="M0", at_s=10.0, lasts_s=6.0)])
    _report, records = play(world, Dispatching(rule=ShortestFirst()))
    assert [r.at_s for r in records if isinstance(r, TaskDone)] == [10.0, 15.0]


def test_policies_hear_of_releases() -> None:
    tasks = (Task((Mode(1, ((0, 1),)),), release=5),)
    late = Problem(name="late", tasks=tasks, jobs=(Job(),), capacity=(1,))
    _, records = play(world_of(late), Dispatching(rule=ShortestFirst()))
    assert [r.at_s for r in records if isinstance(r, TaskReleased | Finished)] == [5.0, 6.0]


def test_the_truth_does_not_depend_on_the_policy() -> None:
    problem = random_shop(3)

    def took(rule: int) -> dict[str, float]:
        world = world_of(problem, truth=Noise(0.5))
        _, records = play(world, Dispatching(rule=RULES[rule]))
        return {record.task: record.at_s - record.start_s for record in records if isinstance(record, TaskDone)}

    assert took(0) == pytest.approx(took(1))


def test_machines_are_down_as_often_as_they_are_said_to_be() -> None:
    failures = Failures(mtbf_s=9.0, repair_s=1.0)
    world = world_of(job_shop("long", [[(0, 20_000)]]), failures=failures)
    report, _records = play(world, Dispatching(rule=ShortestFirst()))
    assert report.duration_s == pytest.approx(20_000 / failures.up_frac, rel=0.02)


class Scripted:
    """Does at each event what it was told to."""

    def __init__(self, *answers: list[Action]) -> None:
        self.answers = list(answers)

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def decide(self, event: Event, view: ShopView) -> Iterable[Action]:
        return self.answers.pop(0) if self.answers else ()


def test_a_world_in_which_nobody_decides_ends() -> None:
    world = world_of(ONE, failures=Failures(mtbf_s=5.0, repair_s=1.0))
    report, _records = play(world, Scripted())
    assert report.num_actions == 0
    assert 0 < report.num_events < 5000


def test_a_policy_is_woken_when_it_asks() -> None:
    on = {"M0": {"slot": 1.0}}
    _, records = play(world_of(ONE), Scripted([Wake(3.0, "now")], [Start("J0.0", on)]))
    assert [(r.at_s, r.tag) for r in records if isinstance(r, Woke)] == [(3.0, "now")]
    assert [r.at_s for r in records if isinstance(r, TaskDone)] == [13.0]


def test_a_policy_may_reject_and_preempt() -> None:
    two = job_shop("two", [[(0, 10)], [(0, 4)]])
    on = {"M0": {"slot": 1.0}}
    policy = Scripted([Start("J0.0", on), Wake(3.0)], [], [Preempt("J0.0"), Start("J1.0", on), Reject("J0", "no room")])
    world = world_of(two)
    _, records = play(world, policy)
    assert [(r.at_s, r.task) for r in records if isinstance(r, TaskStopped)] == [(3.0, "J0.0")]
    assert [(r.id, r.why) for r in records if isinstance(r, Failed)] == [("J0", "no room")]
    assert [r.at_s for r in records if isinstance(r, Finished)] == [7.0]
    assert world.busy_s == [7.0]


def test_what_cannot_be_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="machine must be one of M0, M1, got M7"):
        world_of(ONE, breakdowns=[Breakdown(machine="M7", at_s=1.0, lasts_s=1.0)])
    with pytest.raises(ConfigError, match="lasts_s > 0"):
        world_of(ONE, breakdowns=[Breakdown(machine="M0", at_s=1.0, lasts_s=0.0)])
    with pytest.raises(ConfigError, match="mtbf_s and repair_s must be > 0"):
        Failures(mtbf_s=0.0, repair_s=1.0)
    with pytest.raises(ConfigError, match="noise_cv must be >= 0"):
        Noise(-1.0)
    one = Breakdown(machine="M0", at_s=1.0, lasts_s=1.0)
    with pytest.raises(ConfigError, match="given or drawn"):
        ShopWorld([], machines_of(ONE), breakdowns=[one], failures=Failures(mtbf_s=1.0, repair_s=1.0))


def test_a_recording_holds_all_that_a_policy_was_told(tmp_path: Path) -> None:
    world, path = rough_world(5), tmp_path / "shop.jsonl"
    policy = Dispatching(rule=ShortestFirst())
    simulate(world, policy, session=Session(policy, world.view, trace=FileTrace(path)))
    _, records = play(rough_world(5), Dispatching(rule=ShortestFirst()))
    assert list(read_trace(path)) == records


def test_an_empty_shop_ends_at_once() -> None:
    world = ShopWorld([], machines_of(ONE))
    assert simulate(world, Dispatching(rule=ShortestFirst())).num_events == 0
