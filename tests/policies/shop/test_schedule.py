"""What a schedule is worth, and that no broken rule goes unseen."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from headway.policies.shop.making import flow_shop, job_shop, project, single_machine
from headway.policies.shop.problem import Downtime, Job, Mode, Problem, Task
from headway.policies.shop.schedule import Schedule, faults, job_ends, leaves, objective

TWO = job_shop("two", [[(0, 3), (1, 2)], [(1, 4), (0, 1)]])
GOOD = Schedule((0, 4, 0, 4), (0, 0, 0, 0))


def moved(task: int, start: int) -> Schedule:
    starts = list(GOOD.starts)
    starts[task] = start
    return Schedule(tuple(starts), GOOD.modes)


def test_a_schedule_that_keeps_every_rule_has_no_faults() -> None:
    assert faults(TWO, GOOD) == []
    assert job_ends(TWO, GOOD) == [6, 5]


@pytest.mark.parametrize(
    ("goal", "cost"),
    [("makespan", 6), ("total_flow_time", 11), ("total_tardiness", 3), ("weighted_tardiness", 2 * 2 + 1 * 0.5)],
)
def test_objectives(goal: str, cost: float) -> None:
    jobs = (Job(due=4, weight=2.0), Job(due=4, weight=0.5))
    assert objective(replace(TWO, jobs=jobs, objective=goal), GOOD) == cost


@pytest.mark.parametrize(
    ("problem", "schedule", "said"),
    [
        (TWO, moved(1, 2), "J0.1 starts at 2, before J0.0 ends at 3"),
        (TWO, moved(1, 3), "M1 has 1, and 2 are taken at 3 by"),
        (TWO, Schedule((0, 4), (0, 0)), "it must place 4 tasks, and places 2"),
        (TWO, Schedule(GOOD.starts, (0, 0, 0, 1)), "J1.1 has no mode 1"),
        (TWO, moved(0, -1), "J0.0 starts at -1, before its release at 0"),
        (replace(TWO, downtimes=(Downtime(1, 5, 9),)), GOOD, "J0.1 runs on M1 while it is down from 5 to 9"),
        (replace(TWO, jobs=(Job(deadline=5), Job())), GOOD, "J0 ends at 6, after its deadline at 5"),
        (
            replace(TWO, tasks=(replace(TWO.tasks[0], fixed_start=1), *TWO.tasks[1:])),
            GOOD,
            "has started at 1, not at 0",
        ),
        (replace(TWO, tasks=(replace(TWO.tasks[0], release=1), *TWO.tasks[1:])), GOOD, "before its release at 1"),
    ],
)
def test_every_broken_rule_is_named(problem: Problem, schedule: Schedule, said: str) -> None:
    assert any(said in fault for fault in faults(problem, schedule)), faults(problem, schedule)


def test_resources_with_room_for_several() -> None:
    problem = project("small", [3, 2, 2], [[2], [1], [2]], [[], [], []], [3])
    assert faults(problem, Schedule((0, 0, 3), (0, 0, 0))) == []
    assert "M0 has 3, and 4 are taken at 2 by A0, A2" in faults(problem, Schedule((0, 0, 2), (0, 0, 0)))[0]


def test_a_job_that_blocks_keeps_its_machine() -> None:
    blocking = job_shop("row", [[(0, 1), (1, 5)], [(0, 2), (1, 1)]], blocking=True)
    late = Schedule((0, 1, 1, 6), (0, 0, 0, 0))
    assert leaves(blocking, late) == [1, 6, 6, 7]
    assert faults(blocking, late) == []
    third = job_shop("row", [[(0, 1), (1, 5)], [(0, 2), (1, 1)], [(0, 1)]], blocking=True)
    assert any("M0 has 1" in fault for fault in faults(third, Schedule((0, 1, 1, 6, 3), (0,) * 5)))


def test_swaps_take_no_time() -> None:
    """Two jobs on each other's machines change places at one moment."""
    crossed = job_shop("crossed", [[(0, 2), (1, 2)], [(1, 2), (0, 2)]], blocking=True)
    assert faults(crossed, Schedule((0, 2, 0, 2), (0, 0, 0, 0))) == []


def test_one_order_on_all_machines() -> None:
    flow = flow_shop("flow", [[1, 3], [2, 1]], permutation=True)
    assert faults(flow, Schedule((0, 1, 1, 4), (0,) * 4)) == []
    assert faults(flow, Schedule((2, 3, 0, 6), (0,) * 4)) == ["machines take the jobs in different orders"]


def test_tardiness_on_one_machine() -> None:
    problem = single_machine("one", [3, 2], [3, 4], [1.0, 10.0])
    assert objective(problem, Schedule((0, 3), (0, 0))) == 10.0
    assert objective(problem, Schedule((2, 0), (0, 0))) == 2.0


def test_who_needs_nothing_of_a_resource_may_run_while_it_is_down() -> None:
    plan = project("one", [4], [[0]], [[]], [1])
    none = (Task((Mode(4, ((0, 0),)),)),)
    assert faults(replace(plan, tasks=none, downtimes=(Downtime(0, 1, 2),)), Schedule((0,), (0,))) == []
