"""A shop's board: what may begin, what is refused, and what is left to do as a problem."""

from __future__ import annotations

import pytest

from headway.core.actions import Preempt, Reject, Start
from headway.core.errors import ConfigError
from headway.core.nouns import Resource
from headway.policies.shop import checking
from headway.policies.shop.arriving import ids_of, jobs_of, machines_of
from headway.policies.shop.board import ShopBoard, ShopView
from headway.policies.shop.making import flexible_job_shop, job_shop, project
from headway.policies.shop.nouns import ShopJob
from headway.policies.shop.problem import Downtime, Job, Mode, Problem, Task

TWO = job_shop("two", [[(0, 3), (1, 2)], [(1, 4), (0, 1)]])


def board_of(problem: Problem, **more: tuple[Downtime, ...]) -> ShopBoard:
    board = ShopBoard(machines_of(problem), **more)  # type: ignore[arg-type]
    board.go_to(0.0)
    for job in jobs_of(problem):
        board.add(job)
    return board


def start(board: ShopBoard, task: str, machine: str, amount: float = 1.0) -> str | None:
    return board.apply(Start(task, {machine: {"slot": amount}}))


def finish(board: ShopBoard, task: str, at_s: float) -> bool:
    board.go_to(at_s)
    return board.finish(board.running[task])


def test_a_board_is_a_view() -> None:
    view: ShopView = board_of(TWO)
    assert list(view.machines) == ["M0", "M1"]
    assert list(view.jobs) == ["J0", "J1"]


def test_tasks_become_ready_in_the_order_of_their_job() -> None:
    board = board_of(TWO)
    assert list(board.machines["M0"].queue) == ["J0.0"]
    assert list(board.machines["M1"].queue) == ["J1.0"]
    assert start(board, "J0.1", "M1") == "it waits for 1 others"
    assert start(board, "J0.0", "M0") is None
    assert start(board, "J0.0", "M0") == "it is running"
    assert not finish(board, "J0.0", 3.0)
    assert [state.id for state in board.fresh] == ["J0.1"]
    assert board.machines["M1"].queue["J0.1"].ready_since_s == 3.0


def test_a_rule_sees_the_work_that_is_left() -> None:
    board = board_of(job_shop("one", [[(0, 3), (1, 2), (0, 5)]]))
    first = board.machines["M0"].queue["J0.0"]
    assert (first.duration_s, first.work_left_s, first.num_left, first.job_work_s) == (3.0, 10.0, 3, 10.0)
    start(board, "J0.0", "M0")
    finish(board, "J0.0", 3.0)
    second = board.machines["M1"].queue["J0.1"]
    assert (second.duration_s, second.work_left_s, second.num_left, second.job_work_s) == (2.0, 7.0, 2, 10.0)


def test_the_work_left_of_a_network_counts_every_follower_once() -> None:
    diamond = project("diamond", [1, 2, 4, 8], [[1], [1], [1], [1]], [[1, 2], [3], [3], []], [2])
    board = board_of(diamond)
    job = next(iter(board.jobs.values()))
    assert [task.work_left_s for task in job.tasks] == [15.0, 10.0, 12.0, 8.0]
    assert [task.num_left for task in job.tasks] == [4, 2, 2, 1]


def test_what_cannot_be_is_refused_and_changes_nothing() -> None:
    board = board_of(TWO)
    before = board.fingerprint()
    assert start(board, "J7.0", "M0") == "it is not here"
    assert start(board, "J0.0", "M1") == "no mode of it runs on M1 with these amounts"
    assert start(board, "J0.0", "M0", 2.0) == "no mode of it runs on M0 with these amounts"
    assert board.apply(Preempt("J0.0")) == "it is not running"
    assert board.apply(Preempt("J0.0", "swap")) == "a shop cannot swap"
    assert board.fingerprint() == before
    start(board, "J0.0", "M0")
    assert board.apply(Reject("J0", "no")) == "it has begun"


def test_a_busy_machine_and_one_that_is_down_take_nothing() -> None:
    board = board_of(job_shop("queue", [[(0, 3)], [(0, 4)]]))
    start(board, "J0.0", "M0")
    assert start(board, "J1.0", "M0") == "M0 has 0 of 1 free, 1 asked for"
    assert not board.open
    finish(board, "J0.0", 3.0)
    assert list(board.open) == ["M0"]
    board.take_down("M0")
    assert start(board, "J1.0", "M0") == "M0 is down"
    assert not board.open
    assert "M0" not in board.resources
    board.bring_up("M0")
    assert list(board.open) == ["M0"]


def test_a_task_in_several_queues_leaves_all_of_them() -> None:
    board = board_of(flexible_job_shop("flexible", [[[(0, 3), (1, 5)]]]))
    assert [m.queue["J0.0"].duration_s for m in board.machines.values()] == [3.0, 5.0]
    start(board, "J0.0", "M1")
    assert not board.open
    assert board.tasks["J0.0"].mode == 1
    assert finish(board, "J0.0", 5.0)
    assert not board.jobs
    assert not board.tasks


def test_a_gang_holds_all_its_machines() -> None:
    task = Task((Mode(2, ((0, 1), (1, 2))),))
    gang = Problem(name="gang", tasks=(task, Task(task.modes, job=1)), jobs=(Job(), Job()), capacity=(1, 3))
    board = board_of(gang)
    first, second = (job.tasks[0].options[0] for job in board.jobs.values())
    assert board.fits(first)
    assert board.fits(second)
    assert board.apply(Start(first.task, first.on)) is None
    assert not board.fits(second)
    assert board.machines["M1"].free == 1


def test_a_task_waits_for_its_release() -> None:
    board = ShopBoard(machines_of(TWO))
    board.go_to(2.0)
    tasks = (Task((Mode(1, ((0, 1),)),), release=5),)
    assert [task.release_s for task in board.add(ShopJob(id="late", kind="job", arrival_s=2.0, tasks=tasks))] == [7.0]
    assert start(board, "late.0", "M0") == "it is not released yet"
    board.go_to(7.0)
    board.release("late.0")
    assert start(board, "late.0", "M0") is None


def test_a_task_stands_still_while_its_machine_is_down() -> None:
    board = board_of(TWO)
    start(board, "J0.0", "M0")
    board.go_to(1.0)
    assert [task.id for task in board.take_down("M0")] == ["J0.0"]
    board.go_to(4.0)
    assert [task.id for task in board.bring_up("M0")] == ["J0.0"]
    assert board.tasks["J0.0"].planned_s == 6.0


def test_a_task_that_is_stopped_is_ready_again() -> None:
    board = board_of(TWO)
    start(board, "J0.0", "M0")
    assert board.apply(Preempt("J0.0")) is None
    assert list(board.open) == ["M1", "M0"]
    assert board.fresh[-1].id == "J0.0"
    assert start(board, "J0.0", "M0") is None


def test_what_is_left_is_a_problem_that_makes_sense() -> None:
    board = board_of(job_shop("two", [[(0, 3), (1, 2)], [(1, 4), (0, 1)]], jobs=(Job(due=9), Job(deadline=20))))
    start(board, "J0.0", "M0")
    start(board, "J1.0", "M1")
    finish(board, "J0.0", 3.0)
    left = board.problem()
    checking.check(left)
    assert [task.name for task in left.tasks] == ["J0.1", "J1.0", "J1.1"]
    assert left.tasks[0].after == ()
    assert left.tasks[0].fixed_start is None
    assert (left.tasks[1].fixed_start, left.tasks[1].modes[0].duration) == (0, 1)
    assert left.tasks[2].after == (1,)
    assert (left.jobs[0].due, left.jobs[1].deadline) == (6, 17)
    assert left.chains == ((0,), (1, 2))


def test_a_late_task_is_expected_to_take_one_unit_more() -> None:
    board = board_of(TWO)
    start(board, "J0.0", "M0")
    board.go_to(3.7)
    assert board.problem().tasks[0].modes[0].duration == 1


def test_a_machine_that_is_down_is_a_downtime_until_it_is_expected_back() -> None:
    machines = [Resource(id=m, kind="machine", capacity={"slot": 1.0}, traits={"repair_s": 10.0}) for m in "ab"]
    board = ShopBoard(machines)
    board.go_to(0.0)
    for job in jobs_of(TWO):
        board.add(job)
    start(board, "J0.0", "a")
    board.go_to(1.0)
    board.take_down("a")
    board.take_down("b")
    board.go_to(4.0)
    left = board.problem()
    assert (left.tasks[0].fixed_start, left.tasks[0].modes[0].duration) == (7, 2)
    assert left.downtimes == (Downtime(0, 0, 7), Downtime(1, 0, 7))


def test_a_known_downtime_holds_up_what_is_under_way() -> None:
    board = board_of(TWO, downtimes=(Downtime(0, 2, 6), Downtime(0, 20, 30), Downtime(1, 0, 1)))
    start(board, "J0.0", "M0")
    board.go_to(1.0)
    left = board.problem()
    assert left.tasks[0].modes[0].duration == 2 + 4
    assert left.downtimes == (Downtime(0, 19, 29),)


def test_the_ids_of_tasks_are_those_of_their_problem() -> None:
    assert ids_of(TWO) == ["J0.0", "J0.1", "J1.0", "J1.1"] == list(board_of(TWO).tasks)


def test_problems_that_cannot_be_played_are_refused() -> None:
    task = Task((Mode(1, ((0, 1),)),))
    across = Problem(name="x", tasks=(task, Task(task.modes, job=1, after=(0,))), jobs=(Job(), Job()), capacity=(1,))
    with pytest.raises(ConfigError, match="must wait for its own job alone, got J0"):
        jobs_of(across)
    with pytest.raises(ConfigError, match="must not block"):
        jobs_of(job_shop("blocks", [[(0, 1)]], blocking=True))
