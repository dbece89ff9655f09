"""Problems as data: what they are called, and what is wrong with those that contradict themselves."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from headway.core.errors import ConfigError
from headway.policies.shop.checking import check, in_order
from headway.policies.shop.making import flexible_job_shop, flow_shop, job_shop, project, single_machine
from headway.policies.shop.problem import Downtime, Job, Mode, Problem, Task

TWO = job_shop("two", [[(0, 3), (1, 2)], [(1, 4), (0, 1)]])
PROJECT = project("small", [0, 3, 2, 0], [[0], [2], [1], [0]], [[1, 2], [3], [3], []], [2])


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (TWO, "job shop"),
        (flow_shop("flow", [[3, 2], [1, 4]]), "flow shop"),
        (flexible_job_shop("flexible", [[[(0, 3), (1, 5)]], [[(1, 4)]]]), "flexible job shop"),
        (single_machine("one", [3, 2], [3, 4]), "single machine"),
        (PROJECT, "project"),
    ],
)
def test_a_problem_knows_its_kind(problem: Problem, kind: str) -> None:
    check(problem)
    assert problem.kind == kind


def test_chains_are_the_tasks_of_each_job_in_order() -> None:
    assert TWO.chains == ((0, 1), (2, 3))
    assert PROJECT.chains is None


def test_names_are_made_where_none_are_given() -> None:
    assert [TWO.task_name(task) for task in range(4)] == ["J0.0", "J0.1", "J1.0", "J1.1"]
    assert TWO.resource_name(1) == "M1"
    named = replace(TWO, resources=("saw", "drill"), jobs=(Job(name="chair"), Job(name="table")))
    assert (named.resource_name(1), named.task_name(3)) == ("drill", "table.1")


def test_weights_make_the_objective_weighted() -> None:
    assert single_machine("one", [3], [3]).objective == "total_tardiness"
    assert single_machine("one", [3], [3], [2.0]).objective == "weighted_tardiness"


def test_problems_are_plain_data() -> None:
    assert msgspec.json.decode(msgspec.json.encode(PROJECT), type=Problem) == PROJECT


def a_task(**more: Any) -> tuple[Task, ...]:
    return (Task(**{"modes": (Mode(1, ((0, 1),)),), **more}), *TWO.tasks[1:])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": ()}, "at least one task, got none"),
        ({"tasks": a_task(modes=())}, r"J0\.0 must have a mode"),
        ({"tasks": a_task(job=7)}, r"job of task 0 must be in 0\.\.1, got 7"),
        ({"tasks": a_task(modes=(Mode(1, ((5, 1),)),))}, r"must run on machines 0\.\.1, got 5"),
        ({"tasks": a_task(modes=(Mode(-1, ()),))}, "must be >= 0, got -1"),
        ({"tasks": a_task(modes=(Mode(1, ((0, 2),)),))}, "must need 0 to 1 of M0, got 2"),
        ({"tasks": a_task(after=(9,))}, r"must wait for tasks 0\.\.3, got 9"),
        ({"tasks": a_task(after=(1,))}, r"must not run in a circle, got J0\.\d -> J0\.\d -> J0\.\d"),
        ({"capacity": (1, 0)}, "capacity of M1 must be >= 1, got 0"),
        ({"jobs": (Job(weight=-1.0), Job())}, "weight of J0 must be >= 0"),
        ({"jobs": (Job(weight=math.inf), Job())}, "weight of J0 must be >= 0, finite, got inf"),
        ({"tasks": a_task(fixed_start=-2)}, r"release and start of J0\.0 must be >= 0, got -2"),
        (
            {"tasks": a_task(modes=(Mode(1, ((0, 1), (0, 1))),))},
            r"J0\.0 must need each of its machines once, got M0 twice",
        ),
        ({"resources": ("saw",)}, "there must be a name for each of 2 resources, unlike the others, got saw"),
        (
            {"resources": ("saw", "saw")},
            "there must be a name for each of 2 resources, unlike the others, got saw, saw",
        ),
        ({"jobs": (Job(name="a"), Job(name="a"))}, "jobs must have names unlike each other, got a twice"),
        ({"tasks": a_task(name="J1.0")}, r"tasks must have names unlike each other, got J1\.0 twice"),
        ({"downtimes": (Downtime(0, 5, 5),)}, "a downtime must name a resource and end after it starts"),
        ({"downtimes": (Downtime(0, 5, 3),)}, "a downtime must name a resource and end after it starts"),
    ],
)
def test_what_contradicts_itself_is_said_in_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        check(replace(TWO, **changes))
    assert str(caught.value).startswith("problem two: ")
    assert "\n" not in str(caught.value)


def test_an_order_keeps_precedence() -> None:
    order = in_order(PROJECT)
    assert sorted(order) == [0, 1, 2, 3]
    for task in range(4):
        assert all(order.index(before) < order.index(task) for before in PROJECT.tasks[task].after)
