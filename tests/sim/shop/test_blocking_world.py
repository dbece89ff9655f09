"""Shops without buffers: blocking, circles, interruptions, and what must hold whatever is played."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Wake
from headway.core.drivers import simulate
from headway.core.events import Failed, Finished
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.shop.blocking_rule import RULES, BlockingRule, Name
from headway.policies.shop.isbjssp_nouns import Segment, Swapped
from headway.policies.shop.schedule import faults, leaves, objective
from headway.sim.shop.blocking_instances import draw_routes, durations, problem_of, random_world, routes_of
from headway.sim.shop.blocking_truth import Interruptions, draw
from headway.sim.shop.blocking_world import BlockingWorld, Route

CIRCLE: list[Route] = [[(0, 3), (1, 2)], [(1, 5), (0, 4)]]
"""Two jobs that want each other's machine."""


def play(world: BlockingWorld, rule: Name = "fifo") -> MemoryTrace:
    trace = MemoryTrace(100_000)
    policy = BlockingRule(rule=rule)
    report = simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert not report.num_refused
    return trace


def hidden(routes: list[Route], **given: tuple[int, int, int]) -> Interruptions:
    """Make interruptions: within or after -> (job, operation, repair); within fails halfway."""
    shape = durations(routes)
    within, after, repair = np.full_like(shape, -1), np.zeros(shape.shape, bool), np.ones_like(shape)
    for kind, (job, operation, length) in given.items():
        repair[job, operation] = length
        if kind == "after":
            after[job, operation] = True
        else:
            within[job, operation] = shape[job, operation] // 2
    return Interruptions(within, after, repair)


def test_a_finished_job_blocks_its_machine() -> None:
    """The second job may begin only when the first has left, which waits for the third."""
    routes: list[Route] = [[(0, 2), (1, 3)], [(0, 1)], [(1, 10)]]
    world = BlockingWorld(routes)
    play(world)
    assert world.starts == [[0, 10], [10], [0]]
    assert world.leaves == [[10, 13], [11], [10]]
    assert Segment(0, 0, "blocked", 2, 10) in world.segments
    assert world.makespan_s == 13
    assert world.waited_s == 8 + 10  # the first on its machine, the second outside


def test_with_buffers_nobody_blocks() -> None:
    world = BlockingWorld([[(0, 2), (1, 3)], [(0, 1)], [(1, 10)]], blocking=False)
    play(world)
    assert world.starts == [[0, 10], [2], [0]]


def test_a_circle_moves_at_once() -> None:
    world = BlockingWorld(CIRCLE)
    trace = play(world)
    assert [set(event.jobs) for event in trace.records if isinstance(event, Swapped)] == [{"J0", "J1"}]
    assert world.num_swaps == 1
    assert world.starts == [[0, 5], [0, 5]]
    assert world.makespan_s == 9


def test_without_swaps_a_circle_is_the_end() -> None:
    world = BlockingWorld(CIRCLE, swap=False)
    trace = play(world)
    assert world.is_deadlocked
    assert world.makespan_s == float("inf")
    assert {event.id for event in trace.records if isinstance(event, Failed)} == {"J0", "J1"}


def test_a_job_may_stay_where_it_is() -> None:
    world = BlockingWorld([[(0, 2), (0, 3)]], swap=False)
    play(world)
    assert world.starts == [[0, 2]]
    assert not world.num_swaps


def test_an_operation_resumes_after_the_repair() -> None:
    routes: list[Route] = [[(0, 4), (1, 1)], [(0, 2)]]
    world = BlockingWorld(routes, hidden(routes, within=(0, 0, 10)))
    play(world)
    assert world.ends == [[14, 15], [16]]
    assert Segment(0, 0, "down", 2, 12) in world.segments
    assert world.num_interruptions == 1


def test_a_job_leaves_a_machine_that_is_down_and_none_enters() -> None:
    routes: list[Route] = [[(0, 4), (1, 1)], [(0, 2)]]
    world = BlockingWorld(routes, hidden(routes, after=(0, 0, 10)))
    play(world)
    assert world.starts == [[0, 4], [14]]


def test_a_circle_waits_for_its_machines() -> None:
    world = BlockingWorld(CIRCLE, hidden(CIRCLE, after=(1, 0, 7)))
    play(world)
    assert world.starts == [[0, 12], [0, 12]]


def test_what_nobody_starts_fails() -> None:
    class Idle(BlockingRule):
        def decide(self, event: object, view: object) -> list[Wake]:  # type: ignore[override]
            return []

    world = BlockingWorld(CIRCLE)
    policy, trace = Idle(), MemoryTrace(100)
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert {event.id for event in trace.records if isinstance(event, Failed)} == {"J0", "J1"}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), shape=st.tuples(st.integers(1, 8), st.integers(1, 6)), rule=st.sampled_from(RULES))
def test_without_interruptions_it_plays_feasible_schedules(seed: int, shape: tuple[int, int], rule: Name) -> None:
    routes = draw_routes(np.random.default_rng(seed), *shape)
    world, problem = BlockingWorld(routes), problem_of(routes)
    play(world, rule)
    assert faults(problem, world.schedule) == []
    assert objective(problem, world.schedule) == world.makespan_s
    assert leaves(problem, world.schedule) == [at for row in world.leaves for at in row]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), fail_prob=st.sampled_from([0.1, 0.5, 1.0]), rule=st.sampled_from(RULES))
def test_whatever_breaks_all_jobs_end_and_nothing_overlaps(seed: int, fail_prob: float, rule: Name) -> None:
    world = random_world(seed, 6, 4, fail_prob)
    trace = play(world, rule)
    assert sum(isinstance(event, Finished) for event in trace.records) == 6
    shop = [one for one in world.segments if one.what != "down"]
    for one, other in pairwise(shop):
        assert one.machine != other.machine or one.end_s <= other.start_s
    down_s = {machine: 0.0 for machine in range(4)}
    for one in world.segments:
        if one.what == "down" and one.job >= 0:
            down_s[one.machine] += one.end_s - one.start_s
        if one.what == "down":  # nobody begins meanwhile
            starts = [other.start_s for other in shop if other.machine == one.machine and other.what == "processing"]
            assert not any(one.start_s < start < one.end_s for start in starts)
    worked_s = sum(one.end_s - one.start_s for one in shop if one.what == "processing")
    assert worked_s == sum(time for job in world.view.jobs.values() for _, time in job.route) + sum(down_s.values())


def test_what_fails_at_a_small_probability_fails_at_a_larger_one() -> None:
    times = durations(draw_routes(np.random.default_rng(0), 20, 10))
    few, many = (draw(times, prob, np.random.default_rng(1)) for prob in (0.05, 0.2))
    assert ((few.within >= 0) <= (many.within >= 0)).all()
    assert (few.after <= many.after).all()
    fails = (many.within >= 0) | many.after
    assert fails.mean() == pytest.approx(0.2, abs=0.06)
    assert not ((many.within >= 0) & many.after).any()
    assert (few.repair == many.repair).all()


def test_routes_and_problems_are_two_forms_of_one_thing() -> None:
    routes = draw_routes(np.random.default_rng(0), 3, 4)
    assert routes_of(problem_of(routes)) == routes
