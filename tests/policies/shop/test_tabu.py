"""Tabu search in job shops: its parts keep what they promise, and the whole finds known optima."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headway.policies.shop.tabu_elites as tabu_elites
import headway.policies.shop.tabu_graph as graph
import headway.policies.shop.tabu_kernel as kernel
from headway.core.errors import ConfigError
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.making import job_shop, project
from headway.policies.shop.problem import Downtime, Job, Mode, Problem, Task
from headway.policies.shop.result import Progress
from headway.policies.shop.schedule import Schedule, ends, faults, objective
from headway.policies.shop.tabu import Tabu, random_line
from headway.policies.shop.tabu_elites import Elites
from headway.policies.shop.tabu_model import Model, model_of
from headway.policies.shop.tabu_run import Runs
from headway.sim.shop.instances.door import read_one
from policies.shop.shops import FT06, flexible_shops, flow_shops, job_shops, projects

PUBLIC = Path(__file__).parents[4] / "shared" / "data" / "sched" / "jssp.jsonl.gz"


class Bench:
    """The kernel's arrays of a problem, with a random orientation."""

    def __init__(self, problem: Problem, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.model = model_of(problem, (0,) * problem.num_tasks)
        runs = Runs(self.model, 6, rng, Stopwatch(60.0), 1)
        self.shop, self.order, self.memory = runs._shop, runs._order, runs._memory
        self.longest = self.load(random_line(self.model, rng))

    def load(self, line: list[int]) -> int:
        self.order.line[:] = line
        return graph.load(self.shop, self.order, self.memory.spare, self.model.problem.num_resources)

    def moves(self, kind: int) -> list[tuple[int, int, int]]:
        begin = graph.critical(self.shop, self.order, self.memory, self.longest)
        count = kernel.neighbours(self.shop, self.order, self.memory, begin, kind)
        return list(zip(self.memory.us[:count], self.memory.vs[:count], self.memory.ways[:count], strict=True))

    def worth(self, move: tuple[int, int, int]) -> int:
        return kernel.worth(self.shop, self.order, self.memory.spare, *move)

    def make(self, move: tuple[int, int, int]) -> int:
        self.longest = graph.move(self.shop, self.order, self.memory, *move)
        return self.longest


def walks(problem: Problem, seed: int, kind: int) -> Iterator[tuple[Bench, tuple[int, int, int], int, int]]:
    """Walk at random; yields (bench after the move, move, what it was said to be worth, makespan before)."""
    bench, dice = Bench(problem, seed), np.random.default_rng(seed)
    for _ in range(6):
        moves = bench.moves(kind)
        if not moves:
            return
        move = moves[int(dice.integers(len(moves)))]
        said, before = bench.worth(move), bench.longest
        bench.make(move)
        yield bench, move, said, before


@pytest.mark.parametrize("kind", [5, 6, 7])
@given(problem=job_shops(least=1), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_every_move_leaves_an_order_without_circles(kind: int, problem: Problem, seed: int) -> None:
    for bench, _, _, _ in walks(problem, seed, kind):
        line, order = list(bench.order.line), bench.order
        assert sorted(line) == list(range(bench.model.num_tasks))
        assert all(order.rank[task] == rank for rank, task in enumerate(line))
        none = bench.model.num_tasks
        for task in line:
            for later in (bench.shop.after[task], order.following[task]):
                assert later == none or order.rank[later] > order.rank[task]
        heads, tails = list(order.end), list(order.tail)
        assert bench.load(line) == bench.longest, "what is recomputed in part must equal what is computed anew"
        assert (heads, tails) == (list(order.end), list(order.tail))


@given(problem=job_shops(least=1), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_swap_of_neighbours_is_worth_exactly_the_longest_path_through_them(problem: Problem, seed: int) -> None:
    for bench, (u, v, _), said, before in walks(problem, seed, 5):
        order, duration = bench.order, bench.shop.duration
        through = max(order.end[task] + order.tail[task] - duration[task] for task in (u, v))
        assert said == through
        assert through <= bench.longest <= max(through, before)


@given(problem=job_shops(least=1, max_jobs=6), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_neighbourhoods_contain_each_other(problem: Problem, seed: int) -> None:
    bench = Bench(problem, seed)
    bench.longest = bench.load(list(bench.order.line))
    begin = graph.critical(bench.shop, bench.order, bench.memory, bench.longest)
    found = []
    for kind in (5, 6, 7):
        count = kernel.neighbours(bench.shop, bench.order, bench.memory, begin, kind)
        memory = bench.memory
        found.append({(memory.us[at], memory.vs[at]) for at in range(count)})
    assert found[0] <= found[1] <= found[2]


def test_a_move_that_would_close_a_circle_is_not_offered() -> None:
    """Job 0 takes machine 0, then 1, then 0 again: its first task cannot go after its last."""
    bench = Bench(job_shop("twice", [[(0, 2), (1, 2), (0, 2)], [(0, 2)]]), 0)
    bench.load([0, 3, 1, 2])
    assert not kernel.may_go_after(bench.shop, bench.order, 0, 2)
    assert not kernel.may_go_before(bench.shop, bench.order, 0, 2)
    assert kernel.may_go_after(bench.shop, bench.order, 0, 3)


@given(problem=st.one_of(job_shops(), flexible_shops()), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_schedules_keep_every_rule_and_bounds_hold(problem: Problem, seed: int) -> None:
    result = Tabu(max_moves=60, patience=30).solve(problem, budget_s=5.0, rng=np.random.default_rng(seed))
    assert result.schedule is not None
    assert faults(problem, result.schedule) == []
    assert result.objective == objective(problem, result.schedule)
    assert result.bound is not None
    assert result.objective >= result.bound
    assert (result.status == "optimal") == (result.objective == result.bound)


@given(problem=job_shops(), seed=st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_it_is_never_worse_than_its_start(problem: Problem, seed: int) -> None:
    model = model_of(problem, (0,) * problem.num_tasks)
    start = model.schedule(random_line(model, np.random.default_rng(seed)))
    assert faults(problem, start) == []
    for budget_s in (0.0, 5.0):
        tabu = Tabu(max_moves=20, patience=5, neighbourhood="n7")
        result = tabu.solve(problem, budget_s=budget_s, rng=np.random.default_rng(1), start=start)
        assert result.objective is not None
        assert result.objective <= objective(problem, start)


@pytest.mark.parametrize("neighbourhood", ["n5", "n6", "n7"])
def test_ft06_is_solved_in_a_moment(neighbourhood: str) -> None:
    problem, told = job_shop("ft06", FT06), list[Progress]()
    tabu = Tabu(neighbourhood=neighbourhood, max_moves=4000)  # type: ignore[arg-type]
    result = tabu.solve(problem, budget_s=60.0, rng=np.random.default_rng(0), tell=told.append)
    assert result.objective == 55
    assert [news.objective for news in told] == [news.objective for news in result.history]
    assert told[-1].schedule == result.schedule
    costs = [news.objective for news in told if news.objective is not None]
    assert costs == sorted(costs, reverse=True)


def test_equal_dice_equal_schedules() -> None:
    problem = job_shop("ft06", FT06[:4])
    found = [Tabu(max_moves=300).solve(problem, budget_s=60.0, rng=np.random.default_rng(5)) for _ in range(2)]
    assert found[0].schedule == found[1].schedule


def test_compiled_and_plain_make_the_same_moves() -> None:
    pytest.importorskip("numba")
    model = model_of(job_shop("ft06", FT06), (0,) * 36)
    found = []
    for fast in (False, True):
        rng = np.random.default_rng(3)
        runs = Runs(model, 6, rng, Stopwatch(300.0), 500 if not fast else 10**8)
        assert runs._fast == fast
        runs.left = 500
        found.append(runs.run(random_line(model, rng), 1000))
    assert found[0] == found[1]


def test_what_is_under_way_stays_and_comes_first() -> None:
    tasks = (
        Task((Mode(4, ((0, 1),)),), job=0, fixed_start=0),
        Task((Mode(3, ((1, 1),)),), job=0, after=(0,)),
        Task((Mode(2, ((0, 1),)),), job=1),
        Task((Mode(2, ((1, 1),)),), job=1, after=(2,)),
    )
    problem = Problem(
        name="under way", tasks=tasks, jobs=(Job(), Job()), capacity=(1, 1), downtimes=(Downtime(1, 0, 5),)
    )
    result = Tabu().solve(problem, budget_s=5.0, rng=np.random.default_rng(0))
    assert result.status == "optimal"
    assert result.schedule is not None
    assert faults(problem, result.schedule) == []
    assert max(ends(problem, result.schedule)) == 10


def test_elites_stay_different_and_what_lies_between_respects_jobs() -> None:
    model = model_of(job_shop("ft06", FT06), (0,) * 36)
    rng = np.random.default_rng(0)
    elites = Elites(model.machine[:-1], 4, rng)
    one = random_line(model, rng)
    elites.add(10.0, one)
    elites.add(10.0, one)
    assert elites.costs == [10.0], "a line that is there already is not kept twice"
    while not elites.is_full:
        elites.add(float(rng.integers(10, 20)), random_line(model, rng))
    for _ in range(20):
        rank = {task: place for place, task in enumerate(elites.between())}
        assert all(rank[n] < rank[after] for n, after in enumerate(model.after[:-1]) if after < model.num_tasks)
    elites.add(5.0, random_line(model, rng))
    assert 5.0 in elites.costs
    assert len(elites.costs) == 4


def test_pairs_of_a_large_shop_are_drawn_from_one_machine_each(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = [0, 1, 2, 1, 0, 1, 1, 2] * 5
    every = Elites(machine, 2, np.random.default_rng(0))
    assert len(every._first) == 10 * 9 // 2 + 20 * 19 // 2 + 10 * 9 // 2
    monkeypatch.setattr(tabu_elites, "PAIRS", 50)
    some = Elites(machine, 2, np.random.default_rng(0))
    assert 0 < len(some._first) <= 50
    for elites in (every, some):
        assert all(machine[a] == machine[b] and a != b for a, b in zip(elites._first, elites._second, strict=True))


@pytest.mark.parametrize(
    ("problem", "what"),
    [
        (project("r", [1, 2], [[1], [2]], [[1], []], [2]), "a project"),
        (job_shop("b", [[(0, 1), (1, 1)]], blocking=True), "blocking"),
        (job_shop("t", [[(0, 1), (1, 1)]], objective="total_tardiness"), "total_tardiness"),
        (job_shop("p", [[(0, 1), (1, 1)]], permutation=True), "one order"),
    ],
)
def test_other_problems_are_refused(problem: Problem, what: str) -> None:
    with pytest.raises(ConfigError, match=f"shop/tabu: problem must be .*{what}"):
        Tabu().solve(problem, budget_s=1.0, rng=np.random.default_rng(0))


@given(problem=st.one_of(projects(), flow_shops(), flexible_shops()))
@settings(max_examples=15, deadline=None)
def test_whatever_it_is_given_it_solves_or_refuses(problem: Problem) -> None:
    try:
        result = Tabu(max_moves=20).solve(problem, budget_s=5.0, rng=np.random.default_rng(0))
    except ConfigError:
        return
    assert result.schedule is not None
    assert faults(problem, result.schedule) == []


@pytest.mark.parametrize(("name", "value"), [("neighbourhood", "n4"), ("patience", 0), ("num_elites", 1)])
def test_parameters_out_of_range_are_named(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"shop/tabu: {name} must be"):
        Tabu(**{name: value})  # type: ignore[arg-type]


def test_a_schedule_becomes_a_line_and_the_same_schedule_again() -> None:
    model: Model = model_of(job_shop("ft06", FT06), (0,) * 36)
    schedule = model.schedule(random_line(model, np.random.default_rng(2)))
    assert isinstance(schedule, Schedule)
    assert model.schedule(model.line(schedule)) == schedule


@pytest.mark.skipif(not PUBLIC.is_file(), reason="public instances are not here")
@pytest.mark.parametrize(("name", "optimum"), [("la01", 666), ("la03", 597), ("la05", 593)])
def test_public_job_shops_are_solved(name: str, optimum: int) -> None:
    problem = read_one(PUBLIC, name)
    result = Tabu(max_moves=20_000).solve(problem, budget_s=60.0, rng=np.random.default_rng(0))
    assert result.objective == optimum
