"""Solving through the one door: checked schedules, interrupted searches, files to go on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from headway.app.solving import drawing
from headway.app.solving import solve as module
from headway.app.solving.files import plain, read_schedule, write_result
from headway.app.solving.planners import DEFAULT, planner, planners
from headway.app.solving.solve import solve
from headway.core.errors import ConfigError, PlanError, UnknownName
from headway.plots.chart import Curve, Spans
from headway.policies.shop.making import job_shop, project
from headway.policies.shop.problem import Job, Problem
from headway.policies.shop.result import Progress, Result
from headway.policies.shop.schedule import Schedule, faults

FT06 = job_shop(
    "ft06",
    [
        [(2, 1), (0, 3), (1, 6), (3, 7), (5, 3), (4, 6)],
        [(1, 8), (2, 5), (4, 10), (5, 10), (0, 10), (3, 4)],
        [(2, 5), (3, 4), (5, 8), (0, 9), (1, 1), (4, 7)],
        [(1, 5), (0, 5), (2, 5), (3, 3), (4, 8), (5, 9)],
        [(2, 9), (1, 3), (4, 5), (5, 4), (0, 3), (3, 1)],
        [(1, 3), (3, 3), (5, 9), (0, 10), (4, 4), (2, 1)],
    ],
    best_known=55,
)
TWO = job_shop("two", [[(0, 3), (1, 2)], [(1, 4), (0, 1)]])
GOOD, BETTER = Schedule((0, 5, 0, 7), (0,) * 4), Schedule((0, 4, 0, 4), (0,) * 4)


def test_the_default_planner_proves_a_small_optimum() -> None:
    pytest.importorskip("ortools")
    told: list[Progress] = []
    result = solve(FT06, budget_s=20.0, tell=told.append)
    assert (result.status, result.objective, result.bound) == ("optimal", 55, 55)
    assert result.schedule is not None
    assert faults(FT06, result.schedule) == []
    assert told[-1].objective == 55


def test_every_planner_is_found_with_and_without_its_family() -> None:
    ids = [row.id for row in planners()]
    assert DEFAULT in ids
    for id_ in ids:
        assert type(planner(id_, {})) is type(planner(id_.removeprefix("shop/"), {}))
    with pytest.raises(UnknownName, match=r"Nearest: .*shop/cp-sat"):
        planner("cpsat", {})


def test_workers_are_for_those_who_can_use_them() -> None:
    assert planner("cp-sat", {}, workers=3).workers == 3  # type: ignore[attr-defined]
    assert planner("cp-sat", {"workers": 1}, workers=3).workers == 1  # type: ignore[attr-defined]


class Scripted:
    """A solver that says what it is told to say."""

    def __init__(self, said: Schedule | type[BaseException], before: Schedule | None = None) -> None:
        self.said, self.before = said, before

    def solve(self, problem: Problem, *, tell: Any, **_: Any) -> Result:
        if self.before is not None:
            tell(Progress(0.1, 99.0, 5.0, self.before))
            tell(Progress(0.2, None, 6.0))
        if isinstance(self.said, type):
            raise self.said
        return Result(solver="scripted", status="feasible", schedule=self.said, objective=8.0)


def scripted(monkeypatch: pytest.MonkeyPatch, solver: Scripted) -> None:
    monkeypatch.setattr(module, "planner", lambda *_, **__: solver)


def test_an_interrupted_search_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Scripted(KeyboardInterrupt, before=BETTER))
    result = solve(TWO)
    assert (result.status, result.schedule, result.objective, result.bound) == ("feasible", BETTER, 6, 6)
    assert result.why == "interrupted"
    assert [progress.schedule for progress in result.history] == [None, None]


def test_an_interrupted_search_keeps_what_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Scripted(KeyboardInterrupt))
    assert solve(TWO, start=BETTER).schedule == BETTER
    assert solve(TWO).status == "unknown"
    assert solve(TWO, "cp-sat").solver == "shop/cp-sat"


def test_a_schedule_that_breaks_a_rule_is_never_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Scripted(Schedule((0, 0, 0, 4), (0,) * 4)))
    with pytest.raises(PlanError, match=r"must keep every rule of two, but J0\.1 starts at 0"):
        solve(TWO)


def test_what_cannot_be_solved_is_refused_before() -> None:
    with pytest.raises(ConfigError, match="time limit must be above 0 s, got 0"):
        solve(TWO, "cp-sat", budget_s=0)
    with pytest.raises(ConfigError, match="the schedule to start from must keep every rule of two"):
        solve(TWO, "cp-sat", start=Schedule((0, 0, 0, 4), (0,) * 4))
    with pytest.raises(ConfigError, match="at least one task"):
        solve(replace(TWO, tasks=()), "cp-sat")


def test_an_impossible_deadline_is_infeasible_and_says_why() -> None:
    pytest.importorskip("ortools")
    result = solve(replace(TWO, jobs=(Job(deadline=4), Job())), "cp-sat", budget_s=5)
    assert (result.status, result.schedule) == ("infeasible", None)
    assert "J0" in result.why


def test_a_result_is_read_back_from_its_file(tmp_path: Path) -> None:
    result = Result(solver="scripted", status="feasible", schedule=GOOD, objective=8.0, bound=6.0)
    write_result(tmp_path / "plan.json", TWO, result)
    assert read_schedule(tmp_path / "plan.json", TWO) == GOOD
    told = plain(TWO, result)
    assert told["gap_frac"] == 0.25
    assert [task["task"] for task in told["tasks"]] == ["J0.0", "J1.0", "J0.1", "J1.1"]
    assert told["tasks"][0] == {"task": "J0.0", "job": "J0", "start": 0, "end": 3, "mode": 0, "on": {"M0": 1}}


def test_files_of_other_problems_are_refused(tmp_path: Path) -> None:
    write_result(tmp_path / "plan.json", TWO, Result(solver="s", status="feasible", schedule=GOOD, objective=8.0))
    with pytest.raises(ConfigError, match=r"must place every task of ft06, J0\.2 is missing"):
        read_schedule(tmp_path / "plan.json", FT06)
    write_result(
        tmp_path / "big.json", FT06, Result(solver="s", status="feasible", schedule=Schedule((0,) * 36, (0,) * 36))
    )
    with pytest.raises(ConfigError, match=r"must place only tasks of two, got J\d\.\d"):
        read_schedule(tmp_path / "big.json", TWO)
    same = replace(TWO, tasks=tuple(replace(task, name="x") for task in TWO.tasks))
    with pytest.raises(ConfigError, match="must have names of their own, x is several"):
        read_schedule(tmp_path / "plan.json", same)
    (tmp_path / "other.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="must be a result of `headway solve --out`"):
        read_schedule(tmp_path / "other.json", TWO)


def test_a_chart_shows_every_task_once() -> None:
    chart = drawing.chart(TWO, Result(solver="s", status="feasible", schedule=BETTER, objective=6.0, bound=6.0))
    texts = sorted(text for mark in chart.marks if isinstance(mark, Spans) for text in mark.texts)
    assert texts == ["J0.0", "J0.1", "J1.0", "J1.1"]
    assert chart.title == "two: makespan 6 by s"


def test_tasks_that_share_a_resource_stand_in_lanes() -> None:
    problem = project("p", [3, 2, 2], [[1], [1], [1]], [[], [], []], [2])
    lanes = {task: lane for *_, lane, _, task in drawing.spans(problem, Schedule((0, 0, 2), (0, 0, 0)))}
    assert lanes == {"A0": "M0 1", "A1": "M0 2", "A2": "M0 2"}


def test_lines_of_letters_cover_what_runs() -> None:
    rows = dict(drawing.lines(TWO, BETTER, 12))
    assert rows["M0"] == [0] * 6 + [None] * 2 + [1] * 2 + [None] * 2
    assert rows["M1"] == [1] * 8 + [0] * 4


def test_the_way_of_a_search_is_drawn() -> None:
    result = Result(
        solver="s", status="feasible", schedule=GOOD, objective=8.0, took_s=2.0,
        history=(Progress(0.1, 9.0), Progress(0.5, 8.0, 6.0)),
    )  # fmt: skip
    curves = {mark.name: mark for mark in drawing.history_chart(result).marks if isinstance(mark, Curve)}
    np.testing.assert_array_equal(curves["objective"].y, [9.0, 8.0, 8.0])
    np.testing.assert_array_equal(curves["bound"].x, [0.5, 2.0])
