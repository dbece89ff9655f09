"""A learned dispatching policy: its propagation against brute force, its two ways of playing, its schedules."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from headway.app.learning.rl_cp_jssp_data import decider
from headway.app.learning.torch_ops import TORCH, to_torch
from headway.core.errors import ConfigError
from headway.core.learning import Question, answered
from headway.numerics.nets import NUMPY, save
from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.making import flexible_job_shop, flow_shop, job_shop, project
from headway.policies.shop.problem import Downtime, Job, Problem
from headway.policies.shop.result import Progress
from headway.policies.shop.rl_cp_jssp import PUBLISHED, SHIPPED, RlCpJssp
from headway.policies.shop.rl_cp_jssp_env import FOLLOW, SAMPLE, SCRIPT, Kept, Shops, repeated, schedule_of, tables
from headway.policies.shop.rl_cp_jssp_net import forward, init
from headway.policies.shop.schedule import Schedule, faults, objective

Rows = list[list[tuple[int, int]]]


@st.composite
def shops(draw: st.DrawFn, most_jobs: int = 4, most_machines: int = 3) -> Problem:
    """Job shops with jobs of different lengths, machines visited twice, durations of 0, releases and downtimes."""
    num_machines = draw(st.integers(1, most_machines))
    op = st.tuples(st.integers(0, num_machines - 1), st.integers(0, 5))
    rows: Rows = draw(st.lists(st.lists(op, min_size=1, max_size=3), min_size=1, max_size=most_jobs))
    problem = job_shop("drawn", rows, capacity=(1,) * num_machines)
    releases = draw(st.lists(st.integers(0, 4), min_size=problem.num_tasks, max_size=problem.num_tasks))
    tasks = tuple(replace(task, release=at) for task, at in zip(problem.tasks, releases, strict=True))
    spans = draw(st.lists(st.tuples(st.integers(0, num_machines - 1), st.integers(0, 9)), max_size=2))
    downs = tuple(Downtime(machine, at, at + 3) for machine, at in spans)
    return replace(problem, tasks=tasks, downtimes=downs)


def plain(num_jobs: int, num_machines: int, seed: int) -> Problem:
    return drawn(np.random.default_rng(seed), num_jobs, num_machines, 9)


def drawn(rng: np.random.Generator, num_jobs: int, num_machines: int, longest: int) -> Problem:
    def row() -> list[tuple[int, int]]:
        return [(int(machine), int(rng.integers(1, longest + 1))) for machine in rng.permutation(num_machines)]

    return job_shop("drawn", [row() for _ in range(num_jobs)])


def solver(seed: int = 0) -> RlCpJssp:
    """One with random weights, so that all kinds of choices come up."""
    made = RlCpJssp()
    made.__dict__["_network"] = {
        name: array.astype(np.float64) for name, array in init(np.random.default_rng(seed), columns=6).items()
    }
    return made


def at_random(rng: np.random.Generator, question: Question) -> int:
    return int(rng.choice(np.flatnonzero(question.legal)))


def orders(problem: Problem) -> list[int]:
    """The makespans of all schedules that some order of all operations gives, each as early as possible."""
    counts = [job for job, chain in enumerate(problem.chains or ()) for _ in chain]
    found = []
    for order in set(itertools.permutations(counts)):
        place, ready = [0] * len(problem.jobs), [0] * len(problem.jobs)
        free = [0] * problem.num_resources
        for job in order:
            mode = problem.tasks[(problem.chains or ())[job][place[job]]].modes[0]
            machine = mode.needs[0][0]
            ready[job] = free[machine] = max(ready[job], free[machine]) + mode.duration
            place[job] += 1
        found.append(max(ready))
    return found


def outcomes(problem: Problem) -> set[int]:
    """The makespans of everything that can be chosen."""
    found = set()
    todo: list[list[int]] = [[]]
    while todo:
        begun = todo.pop()
        asking = RlCpJssp().ask(problem)
        try:
            question = next(asking)
            for action in begun:
                question = asking.send(action)
            todo += [[*begun, int(action)] for action in np.flatnonzero(question.legal)]
        except StopIteration as end:
            found.add(int(objective(problem, end.value)))
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_best_schedule_can_be_chosen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = drawn(rng, 3, int(rng.integers(1, 3)), 6)
    assert min(outcomes(problem)) == min(orders(problem))


@settings(max_examples=60, deadline=None)
@given(shops(), st.integers(0, 100))
def test_whatever_is_chosen_is_a_schedule(problem: Problem, seed: int) -> None:
    rng = np.random.default_rng(seed)
    schedule = answered(RlCpJssp().ask(problem), lambda question: at_random(rng, question))
    assert faults(problem, schedule) == []


@settings(max_examples=30, deadline=None)
@given(shops(), st.integers(0, 100))
def test_what_is_begun_is_kept(problem: Problem, seed: int) -> None:
    """The first tasks of jobs on machines of their own are under way already."""
    begun = set()
    tasks = list(problem.tasks)
    for chain in problem.chains or ():
        machine = tasks[chain[0]].modes[0].needs[0][0]
        if machine not in begun:
            tasks[chain[0]] = replace(tasks[chain[0]], fixed_start=0, release=0)
            begun.add(machine)
    problem = replace(problem, tasks=tuple(tasks), downtimes=tuple(d for d in problem.downtimes if d.start > 5))
    rng = np.random.default_rng(seed)
    schedule = answered(RlCpJssp().ask(problem), lambda question: at_random(rng, question))
    assert faults(problem, schedule) == []


@pytest.mark.parametrize("seed", range(3))
def test_asking_and_playing_side_by_side_choose_alike(seed: int) -> None:
    problems = [plain(6, 4, 10 * seed + more) for more in range(5)]
    policy = solver(seed)
    together = Shops(tables(problems))
    together.run(policy._score)
    for place, problem in enumerate(problems):
        asked = answered(policy.ask(problem), policy.choose)
        assert asked == schedule_of(problem, together.shifted(place))
        assert asked == policy.solve(problem, budget_s=10, rng=np.random.default_rng(0)).schedule


def test_features_put_as_a_question_score_as_those_of_a_batch() -> None:
    shops, policy = Shops(tables([plain(8, 4, 3)])), solver()
    question = shops.question()
    rows, num, features = shops._look(np.zeros(1, np.int64))
    ours = policy._score(features)[0]
    theirs = policy._score({name: array[None] for name, array in question.features.items()})[0]
    jobs = rows[0, : num[0]]
    legal = question.legal[jobs]
    np.testing.assert_allclose(theirs[jobs][legal], ours[: num[0]][legal], atol=1e-12)
    assert theirs[-1] == pytest.approx(ours[-1], abs=1e-12)


def test_numpy_and_torch_score_alike() -> None:
    for columns in (4, 6):
        weights = init(np.random.default_rng(1), columns=columns)
        _, _, features = Shops(tables([plain(8, 4, seed) for seed in range(4)]))._look(np.arange(4))
        ours, value = forward(NUMPY, weights, features)
        tensors = {name: TORCH.asarray(array) for name, array in features.items()}
        theirs, _ = forward(TORCH, to_torch(weights), tensors)
        np.testing.assert_allclose(theirs.detach().numpy(), ours, atol=2e-5)
        assert value.shape == (4,)


def test_a_script_repeats_what_was_played() -> None:
    found = repeated(tables([plain(7, 5, 4)]), 6)
    first, kept = Shops(found), list[Kept]()
    first.run(solver()._score, mode=SAMPLE, rng=np.random.default_rng(2), keep=kept)
    again = Shops(found)
    again.script[:] = first.script
    again.run(solver(1)._score, mode=SCRIPT)
    np.testing.assert_array_equal(again.starts, first.starts)
    num_kept = np.bincount(np.concatenate([one.shop for one in kept]), minlength=6)
    np.testing.assert_array_equal(num_kept, first.told)


def test_what_is_kept_names_legal_choices() -> None:
    shops, kept = Shops(tables([plain(6, 4, seed) for seed in range(4)])), list[Kept]()
    shops.run(solver()._score, mode=SAMPLE, rng=np.random.default_rng(2), keep=kept)
    for one in kept:
        assert one.legal[np.arange(len(one.action)), one.action].all()
        assert (one.legal.sum(1) >= 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_an_optimal_schedule_can_be_followed(seed: int) -> None:
    problem = plain(5, 4, seed)
    best = CpSat(workers=1).solve(problem, budget_s=20, rng=np.random.default_rng(0))
    assert best.status == "optimal"
    assert best.schedule is not None
    shops = Shops(tables([problem]))
    targets = np.array(best.schedule.starts).reshape(1, 5, 4)
    shops.starts[:] = targets
    active = shops.shifted(0)[None]
    follower = Shops(tables([problem]))
    follower.run(solver()._score, mode=FOLLOW, targets=active)
    assert follower.makespans[0] == best.objective
    np.testing.assert_array_equal(follower.starts, active)


def test_moving_operations_up_never_delays_any() -> None:
    for seed in range(5):
        shops = Shops(tables([plain(8, 5, seed)]))
        shops.run(solver(seed)._score, mode=SAMPLE, rng=np.random.default_rng(seed))
        assert (shops.shifted(0) <= shops.starts[0]).all()


def test_more_samples_are_no_worse_and_equal_seeds_give_equal_results() -> None:
    problem, told = plain(10, 5, 1), list[Progress]()
    policy = RlCpJssp(samples=20)
    one = RlCpJssp().solve(problem, budget_s=20, rng=np.random.default_rng(0))
    many = policy.solve(problem, budget_s=60, rng=np.random.default_rng(0), tell=told.append)
    again = policy.solve(problem, budget_s=60, rng=np.random.default_rng(0))
    assert many.schedule == again.schedule
    assert many.objective is not None
    assert one.objective is not None
    assert many.objective <= one.objective
    costs = [news.objective for news in told if news.objective is not None]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == many.objective


def test_it_goes_on_from_a_schedule_and_lets_a_solver_finish() -> None:
    problem = plain(6, 4, 2)
    best = CpSat(workers=1).solve(problem, budget_s=20, rng=np.random.default_rng(0))
    started = solver().solve(problem, budget_s=1, rng=np.random.default_rng(0), start=best.schedule)
    assert started.objective == best.objective
    finished = RlCpJssp(finish=True).solve(problem, budget_s=20, rng=np.random.default_rng(0))
    assert finished.status == "optimal"
    assert finished.objective == best.objective
    assert finished.schedule is not None
    assert faults(problem, finished.schedule) == []


def test_a_missed_deadline_is_no_schedule() -> None:
    problem = replace(plain(3, 3, 1), jobs=(Job(deadline=1), Job(), Job()))
    assert RlCpJssp().solve(problem, budget_s=1, rng=np.random.default_rng(0)).status == "unknown"


@pytest.mark.parametrize(
    ("problem", "got"),
    [
        (flexible_job_shop("f", [[[(0, 1), (1, 2)]], [[(1, 3)], [(0, 2)]]]), "flexible"),
        (project("p", [1, 2], [[1], [1]], [[1], []], [2]), "project"),
        (replace(plain(2, 2, 0), blocking=True), "block"),
        (flow_shop("permuted", [[1, 2], [2, 1]], permutation=True), "permutation"),
    ],
)
def test_other_problems_are_refused(problem: Problem, got: str) -> None:
    with pytest.raises(ConfigError, match=f"must be a job shop, got .*{got}"):
        RlCpJssp().solve(problem, budget_s=1, rng=np.random.default_rng(0))


def test_samples_must_be_positive_and_weights_must_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="samples must be >= 1, got 0"):
        RlCpJssp(samples=0)
    wrong = init(np.random.default_rng(0), columns=6, width=4)
    save(tmp_path / "wrong.npz", wrong, {})
    with pytest.raises(ConfigError, match="another network"):
        RlCpJssp(weights=str(tmp_path / "wrong.npz")).solve(plain(3, 3, 0), budget_s=1, rng=np.random.default_rng(0))


def test_weights_of_the_published_loop_come_with_it() -> None:
    problem = plain(10, 5, 3)
    best, published = (
        RlCpJssp(weights=name).solve(problem, budget_s=9, rng=np.random.default_rng(0)) for name in ("", "published")
    )
    assert best.schedule != published.schedule
    assert published.schedule is not None
    assert faults(problem, published.schedule) == []
    assert all(path.stat().st_size < 150_000 for path in (SHIPPED, PUBLISHED))


def test_four_columns_are_read_where_weights_have_four(tmp_path: Path) -> None:
    weights = init(np.random.default_rng(0), columns=4)
    save(tmp_path / "four.npz", weights, {})
    problem = plain(6, 4, 0)
    shops = Shops(tables([problem]))
    shops.run(decider(weights))
    found = RlCpJssp(weights=str(tmp_path / "four.npz")).solve(problem, budget_s=1, rng=np.random.default_rng(0))
    assert found.schedule == schedule_of(problem, shops.shifted(0))


def test_a_problem_without_choices_asks_nothing() -> None:
    problem = job_shop("alone", [[(0, 2), (1, 3)]])
    assert answered(RlCpJssp().ask(problem), lambda _: 1 // 0) == Schedule((0, 2), (0, 0))
