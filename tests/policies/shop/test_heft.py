"""HEFT and list rules on a chip: the published schedule, precedence, and what a stream makes of plans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Start
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.shop.heft import Heft
from headway.policies.shop.soc_board import JobState, Lane, SocBoard
from headway.policies.shop.soc_nouns import Application, SocJob, task_of
from headway.policies.shop.soc_plan import by_rank, heft
from headway.policies.shop.soc_shape import shape_of
from headway.sim.shop.soc_applications import Chip, radio_applications, radio_chip, top, top_chip
from headway.sim.shop.soc_world import SocWorld, stream

ORDER = [0, 3, 2, 1, 4, 5, 8, 6, 7, 9]
"""Of the ten tasks, as calculated by hand from their upward ranks."""
RULES = ("heft", "etf", "eft", "met", "stf", "random")


def job(application: Application) -> JobState:
    return JobState(SocJob(id="job", kind="soc-job", arrival_s=0.0, application=application), shape_of(application))


@st.composite
def applications(draw: st.DrawFn) -> Application:
    num, num_pes = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    times = [[float(one) if rng.random() < 0.8 else None for one in rng.integers(1, 30, num_pes)] for _ in range(num)]
    for row in times:
        row[int(rng.integers(num_pes))] = float(rng.integers(1, 30))
    edges = [(one, two, float(rng.integers(0, 20))) for two in range(num) for one in range(two) if rng.random() < 0.4]
    return Application("drawn", tuple(map(tuple, times)), tuple(edges))


def test_upward_ranks_and_order_are_the_published_ones() -> None:
    ranks = [round(rank, 2) for rank in shape_of(top()).rank_s]
    assert ranks == [108.0, 77.0, 80.0, 80.0, 69.0, 63.33, 42.67, 35.67, 44.33, 14.67]
    assert [task for _, task in by_rank([job(top())])] == ORDER


def test_the_plan_of_the_published_table_takes_80() -> None:
    plan = heft([job(top())], [Lane(pe.id) for pe in top_chip().pes()], 0.0)
    assert max(row[-1].end_s for row in plan) == 80.0
    assert [[one.task for one in row] for row in plan] == [[1, 7], [3, 5, 8, 9], [0, 2, 4, 6]]


def test_the_world_plays_the_plan_as_planned() -> None:
    world = SocWorld(stream((top(),), 0, num_jobs=1, scale_s=0.0), top_chip())
    simulate(world, Heft())
    assert world.took_s == {"job-0": 80.0}


@settings(max_examples=40, deadline=None)
@given(applications())
def test_without_noise_one_job_takes_what_its_plan_says(application: Application) -> None:
    chip = Chip(("1",) * len(application.times_s[0]))
    plan = heft([job(application)], [Lane(pe.id) for pe in chip.pes()], 0.0)
    world = SocWorld(stream((application,), 0, num_jobs=1, scale_s=0.0), chip)
    simulate(world, Heft())
    assert world.took_s["job-0"] == pytest.approx(max(row[-1].end_s for row in plan if row))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("hold", [False, True])
def test_a_task_starts_after_its_parents_and_only_where_it_can(rule: str, hold: bool) -> None:
    chip = radio_chip()
    world = SocWorld(stream(radio_applications(chip), 1, num_jobs=12, scale_s=100.0, noise=0.3), chip)
    trace, policy = MemoryTrace(10**6), Heft(rule=rule, hold=hold)  # type: ignore[arg-type]
    simulate(world, policy, session=Session(policy, world.view, seed=1, trace=trace))
    begun = [task_of(action.id) for action in trace.actions if isinstance(action, Start)]
    assert len(begun) == len(set(begun)) == world.num_tasks
    assert len(world.took_s) == 12


def test_rules_choose_what_they_say() -> None:
    # Two tasks without edges: the first is short on P2, the second short on P1 and shorter in all.
    application = Application("two", ((9.0, 8.0), (3.0, 7.0)))
    first: dict[str, tuple[str, str]] = {}
    for rule in ("etf", "eft", "met", "stf"):
        board = SocBoard(Chip(("1", "2")).pes())
        board.add(SocJob(id="job", kind="soc-job", arrival_s=0.0, application=application))
        policy = Heft(rule=rule)  # type: ignore[arg-type]
        actions = [action for action in policy.decide(None, board) if isinstance(action, Start)]  # type: ignore[arg-type]
        first[rule] = (actions[0].id, next(iter(actions[0].on)))
    assert first["etf"] == first["stf"] == ("job.1", "P1")
    assert first["eft"] == first["met"] == ("job.0", "P2")


def test_the_fastest_element_is_queued_for_by_met_alone() -> None:
    application = Application("same", ((5.0, 9.0), (5.0, 9.0), (5.0, 9.0)))
    spans = {}
    for rule in ("met", "eft"):
        world = SocWorld(stream((application,), 0, num_jobs=1, scale_s=0.0), Chip(("1", "2")))
        simulate(world, Heft(rule=rule))  # type: ignore[arg-type]
        spans[rule] = world.took_s["job-0"]
    assert spans == {"met": 15.0, "eft": 10.0}


def test_an_unknown_rule_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="shop/heft: rule must be heft or one of etf"):
        Heft(rule="best")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("application", "why"),
    [
        (Application("circle", ((1.0,), (1.0,)), ((0, 1, 1.0), (1, 0, 1.0))), "edges that go in a circle"),
        (Application("nowhere", ((None,),)), "must run somewhere"),
        (Application("far", ((1.0,),), ((0, 1, 1.0),)), "edges must join tasks"),
        (Application("free", ((0.0,),)), "times must be > 0"),
    ],
)
def test_what_is_no_application_is_one_sentence(application: Application, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        shape_of(application)
