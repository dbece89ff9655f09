"""Ask and tell: machines that somebody else plays, in another process even, and a state that outlives its process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from headway.core.errors import ConfigError, EngineError, UnknownName
from headway.engines.shop.asking import Shop
from headway.policies.shop.dispatching import Dispatching
from headway.policies.shop.making import job_shop
from headway.policies.shop.problem import Downtime, Job, Mode, Problem, Task
from sim.shop.shops import LeastSlack, ShortestFirst, play, random_shop, seeds, starts_of, world_of

TWO = job_shop("two", [[(0, 3), (1, 2)], [(1, 4), (0, 1)]])

MACHINES = """
import heapq, json, sys
due, num = [], 0
for line in sys.stdin:
    said = json.loads(line)
    if "start" in said:
        num += 1
        heapq.heappush(due, (said["at_s"] + said["takes_s"], num, said["start"]))
        continue
    at_s, done = due[0][0] if due else None, []
    while due and due[0][0] == at_s:
        done.append(heapq.heappop(due)[2])
    print(json.dumps({"at_s": at_s, "done": done}), flush=True)
"""
"""Another program that plays the machines: it is told what starts, and tells what ends next."""


class Pipe:
    """The machines, at the other end of a pipe."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", MACHINES]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, what: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        print(json.dumps(what), file=self.process.stdin, flush=True)

    def hear(self) -> dict[str, Any]:
        self.say({})
        assert self.process.stdout is not None
        heard: dict[str, Any] = json.loads(self.process.stdout.readline())
        return heard

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def machines() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


class Played:
    """Plays the machines in this process, as expected of them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.now_s = 0.0
        self.log: list[tuple[float, str]] = []

    def step(self) -> bool:
        """Start what is due, and let what ends next end; says whether something did."""
        for start in self.shop.ask(at_s=self.now_s):
            self.shop.tell_started(start.id, at_s=self.now_s)
            self.log.append((self.now_s, start.id))
        ends = [(state.planned_s, state.id) for state in self.shop.view.running.values()]
        next_s = self.shop.next_s
        times = [at_s for at_s, _ in ends] + ([next_s] if next_s is not None else [])
        if not times:
            return False
        self.now_s = min(times)
        for at_s, task in ends:
            if at_s == self.now_s:
                self.shop.tell_done(task, at_s=at_s)
        return True

    def to_the_end(self) -> list[tuple[float, str]]:
        while self.step():
            pass
        return self.log


def test_another_process_plays_the_machines(machines: Pipe) -> None:
    problem = random_shop(0, num_jobs=6, shortest=1)
    shop, now_s, log = Shop(problem, Dispatching(rule=ShortestFirst())), 0.0, []
    while not shop.is_done:
        for start in shop.ask(at_s=now_s):
            state = shop.view.tasks[start.id]
            machines.say({"start": start.id, "at_s": now_s, "takes_s": state.task.modes[state.mode].duration})
            shop.tell_started(start.id, at_s=now_s)
            log.append((now_s, start.id))
        heard = machines.hear()
        now_s = heard["at_s"]
        for task in heard["done"]:
            shop.tell_done(task, at_s=now_s)
    _, records = play(world_of(problem), Dispatching(rule=ShortestFirst()))
    assert log == [(at_s, start.id) for at_s, start in starts_of(records)]


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_it_comes_to_what_comes_of_it_in_virtual_time(seed: int) -> None:
    problem = random_shop(seed, shortest=1)
    for rule in (ShortestFirst(), LeastSlack()):
        shop = Shop(problem, Dispatching(rule=rule))
        _, records = play(world_of(problem), Dispatching(rule=rule))
        assert Played(shop).to_the_end() == [(at_s, start.id) for at_s, start in starts_of(records)]
        assert shop.is_done


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_what_is_expected_comes_true(seed: int) -> None:
    shop = Shop(random_shop(seed, shortest=1), Dispatching(rule=ShortestFirst()))
    game = Played(shop)
    for _ in range(3):
        game.step()
    plan = shop.plan()
    expected = sorted((one.start_s, one.task) for one in plan)
    assert plan == shop.plan()  # looking ahead changes nothing
    running = {(state.start_s, state.id) for state in shop.view.running.values()}
    num_before = len(game.log)
    assert expected == sorted([*running, *game.to_the_end()[num_before:]])


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_a_shop_that_was_saved_goes_on_as_if_nothing_had_happened(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    path, problem = tmp_path_factory.mktemp("saved") / "shop.json", random_shop(seed, shortest=1)
    expected = Played(Shop(problem, Dispatching(rule=LeastSlack()))).to_the_end()
    game = Played(Shop(problem, Dispatching(rule=LeastSlack())))
    while game.step():
        game.shop.save(path)
        game.shop = Shop.restore(path, Dispatching(rule=LeastSlack()))
    assert game.log == expected


def test_a_policy_with_a_name_is_made_anew(tmp_path: Path) -> None:
    for policy in ("shop/dispatch", {"id": "shop/dispatch", "rule": "spt"}):
        shop = Shop(TWO, policy)
        assert [start.id for start in shop.ask(at_s=0.0)] == ["J0.0", "J1.0"]
        shop.save(tmp_path / "shop.json")
        again = Shop.restore(tmp_path / "shop.json")
        assert [start.id for start in again.ask(at_s=0.0)] == ["J0.0", "J1.0"]  # still not told as started


def test_planners_decide_for_real_machines_too() -> None:
    shop = Shop(TWO, {"id": "shop/follow", "planner": {"id": "shop/cp-sat", "workers": 1}})
    game = Played(shop)
    game.to_the_end()
    assert shop.is_done
    assert game.now_s == 6.0
    assert shop.report().num_refused == 0


def test_a_start_is_asked_for_until_it_is_told() -> None:
    shop = Shop(TWO)
    first = shop.ask(at_s=0.0)
    assert shop.ask(at_s=1.0) == first
    shop.tell_started("J0.0", at_s=1.5)
    assert [start.id for start in shop.ask(at_s=1.5)] == ["J1.0"]
    assert shop.view.running["J0.0"].start_s == 1.5
    assert shop.view.running["J0.0"].planned_s == 4.5


def test_what_runs_on_a_machine_that_is_down_goes_on_or_is_lost() -> None:
    for loses in (False, True):
        shop = Shop(TWO)
        for start in shop.ask(at_s=0.0):
            shop.tell_started(start.id, at_s=0.0)
        shop.tell_down("M0", loses=loses, at_s=2.0)
        assert shop.ask(at_s=2.0) == []
        shop.tell_up("M0", at_s=5.0)
        assert [start.id for start in shop.ask(at_s=5.0)] == (["J0.0"] if loses else [])
        assert shop.view.running["J0.0"].planned_s == (8.0 if loses else 6.0)


def test_what_was_asked_for_on_a_machine_that_is_down_is_taken_back() -> None:
    shop = Shop(TWO)
    assert [start.id for start in shop.ask(at_s=0.0)] == ["J0.0", "J1.0"]
    shop.tell_down("M0", at_s=1.0)
    assert [start.id for start in shop.ask(at_s=1.0)] == ["J1.0"]
    shop.tell_up("M0", at_s=2.0)
    assert [start.id for start in shop.ask(at_s=2.0)] == ["J1.0", "J0.0"]


def test_a_machine_may_refuse_and_a_task_may_be_stopped() -> None:
    shop = Shop(job_shop("queue", [[(0, 5)], [(0, 3)]]), Dispatching(rule=ShortestFirst()))
    assert [start.id for start in shop.ask(at_s=0.0)] == ["J1.0"]
    shop.tell_refused("J1.0", "no material", at_s=1.0)
    assert [start.id for start in shop.ask(at_s=1.0)] == ["J1.0"]
    shop.tell_started("J1.0", at_s=1.0)
    shop.tell_stopped("J1.0", at_s=2.0)
    assert [start.id for start in shop.ask(at_s=2.0)] == ["J1.0"]


def test_jobs_arrive() -> None:
    shop = Shop(TWO)
    shop.ask(at_s=0.0)
    shop.tell_job("rush", [("M1", 1), [("M0", 2), ("M1", 9)]], due_s=9.0, weight=4.0, at_s=0.5)
    assert list(shop.view.machines["M1"].queue) == ["rush.0"]
    assert shop.view.machines["M1"].queue["rush.0"].due_s == 9.0
    with pytest.raises(ConfigError, match="must have a new name"):
        shop.tell_job("rush", [("M1", 1)])
    with pytest.raises(UnknownName, match="M9"):
        shop.tell_job("other", [("M9", 1)])
    with pytest.raises(ConfigError, match=r"whole numbers >= 0, got 1\.5"):
        shop.tell_job("other", [("M1", 1.5)])  # type: ignore[list-item]


def test_it_says_when_to_ask_again() -> None:
    late = Problem(name="late", tasks=(Task((Mode(1, ((0, 1),)),), release=5),), jobs=(Job(),), capacity=(1,))
    shop = Shop(late)
    assert shop.ask(at_s=0.0) == []
    assert shop.next_s == 5.0
    assert [start.id for start in shop.ask(at_s=5.0)] == ["J0.0"]
    assert shop.next_s is None


def test_a_planned_wait_is_a_time_to_ask_again() -> None:
    shop = Shop(
        job_shop("waits", [[(0, 6)]], downtimes=(Downtime(0, 4, 9),)),
        {"id": "shop/follow", "planner": {"id": "shop/cp-sat", "workers": 1}},
    )
    assert shop.ask(at_s=0.0) == []
    assert shop.next_s == 9.0


def test_time_is_that_of_a_clock() -> None:
    now_s = 0.0
    shop = Shop(TWO, clock=lambda: now_s)
    shop.ask()
    now_s = 7.5
    shop.tell_started("J0.0")
    assert shop.view.running["J0.0"].start_s == 7.5
    now_s = 6.0  # somebody has set it back
    shop.tell_started("J1.0")
    assert shop.view.running["J1.0"].start_s == 7.5
    assert Shop(TWO).ask()  # wall time
    with pytest.raises(EngineError, match=r"times must not go back, got 3\.0 after 7\.5"):
        shop.ask(at_s=3.0)


def test_what_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    shop = Shop(TWO)
    with pytest.raises(EngineError, match="must be under way"):
        shop.tell_done("J0.0")
    with pytest.raises(EngineError, match="must have been asked for"):
        shop.tell_started("J0.0")
    with pytest.raises(UnknownName, match="'M7' is not known"):
        shop.tell_down("M7")
    with pytest.raises(UnknownName, match="shop/dispatsh"):
        Shop(TWO, "shop/dispatsh")
    with pytest.raises(ConfigError, match="a shop that was saved"):
        Shop.restore(tmp_path / "none.json")
    (tmp_path / "other.json").write_text('{"name": "other"}')
    with pytest.raises(ConfigError, match="a shop that was saved"):
        Shop.restore(tmp_path / "other.json")
    Shop(TWO, Dispatching(rule=ShortestFirst())).save(tmp_path / "shop.json")
    with pytest.raises(ConfigError, match="the policy must be given"):
        Shop.restore(tmp_path / "shop.json")
    text = (tmp_path / "shop.json").read_text().replace('"done":[]', '"done":["J0.1"]')
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(ConfigError, match="must follow others that are"):
        Shop.restore(tmp_path / "broken.json", Dispatching(rule=ShortestFirst()))
