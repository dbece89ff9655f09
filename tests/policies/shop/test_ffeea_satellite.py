"""Link planning by an evolutionary search with estimated fitness."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.drivers import simulate
from headway.core.errors import ConfigError, PlanError
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.ffeea_decoder import Decoder
from headway.policies.shop.ffeea_exact import exact
from headway.policies.shop.ffeea_fitness import ExactFitness, Fuzzy, FuzzyFitness
from headway.policies.shop.ffeea_greedy import best_order
from headway.policies.shop.ffeea_nouns import Fed, Link, LinkProblem, LinkTask, Taken, Window, link_s
from headway.policies.shop.ffeea_satellite import FfeeaSatellite
from headway.policies.shop.ffeea_search import Evolution, changed_places, crossed_odds, evolved
from headway.sim.shop.ffeea import LinkWorld, Outage
from headway.sim.shop.ffeea_faults import faults
from headway.sim.shop.ffeea_scenarios import scenario


@st.composite
def problems(draw: st.DrawFn) -> LinkProblem:
    antennas = ("a", "b", "c")
    spans = st.tuples(st.integers(0, 300), st.integers(0, 120))
    tasks = []
    for n in range(draw(st.integers(1, 8))):
        windows = [
            Window(tuple(draw(st.permutations(antennas))[: draw(st.integers(1, 2))]), start, start + length)
            for start, length in draw(st.lists(spans, min_size=1, max_size=3))
        ]
        least = draw(st.integers(1, 40))
        tasks.append(
            LinkTask(
                id=str(n), kind="link", arrival_s=0.0, satellite=draw(st.sampled_from("xy")), windows=tuple(windows),
                min_s=least, max_s=least + draw(st.integers(0, 60)), setup_s=draw(st.integers(0, 20)),
                teardown_s=draw(st.integers(0, 20)), mode=draw(st.integers(0, 1)),
            )
        )  # fmt: skip
    return LinkProblem(
        tasks=tuple(tasks),
        antennas=antennas,
        switch_s=draw(st.sampled_from([(), ((0, 15), (25, 0))])),
        now_s=draw(st.integers(0, 50)),
        taken=(Taken("a", 100, 130), Taken("a", 120, 140), Taken("b", 0, 60)),
        fed=(Fed("x", 10, 90, 1),),
    )


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(0, 999))
def test_decoded_links_keep_every_rule(problem: LinkProblem, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(problem.tasks))
    decoder = Decoder(problem)
    links = decoder.links(order)
    assert faults(problem, links) == []
    assert link_s(links) == decoder.seconds(order)


@settings(max_examples=15, deadline=None)
@given(problems(), st.integers(0, 999))
def test_the_plain_decoder_takes_the_same_steps(problem: LinkProblem, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(problem.tasks))
    assert Decoder(problem, compiled=False).links(order) == Decoder(problem).links(order)


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 999))
def test_no_task_that_is_left_out_would_still_fit(problem: LinkProblem, seed: int) -> None:
    links = Decoder(problem).links(np.random.default_rng(seed).permutation(len(problem.tasks)))
    built = {link.task for link in links}
    for task in problem.tasks:
        if task.id in built:
            continue
        for window in task.windows:
            for start in range(window.start_s, window.end_s - task.min_s + 1):
                more = Link(task.id, window.antennas, start, start + task.min_s)
                assert faults(problem, [*links, more]) != []


def test_faults_are_seen() -> None:
    task = LinkTask(
        id="t", kind="link", arrival_s=0.0, satellite="x", windows=(Window(("a",), 100, 200),), min_s=10, max_s=50,
        setup_s=20,
    )  # fmt: skip
    problem = LinkProblem(tasks=(task,), antennas=("a",), now_s=85, taken=(Taken("a", 0, 90),))
    assert faults(problem, [Link("t", ("a",), 110, 160)]) == []
    assert "lasts 60 s" in faults(problem, [Link("t", ("a",), 110, 170)])[0]
    assert "in the past" in faults(problem, [Link("t", ("a",), 100, 140)])[0]
    assert "cannot be seen" in faults(problem, [Link("t", ("a",), 180, 220)])[0]
    assert "while it is taken" in faults(problem, [Link("t", ("a",), 105, 140)])[0]
    assert "built twice" in faults(problem, [Link("t", ("a",), 110, 130), Link("t", ("a",), 160, 190)])[0]
    assert faults(problem, [Link("u", ("a",), 110, 160)]) == ["there is no task u"]


def test_search_finds_the_best_order_of_a_small_problem() -> None:
    problem = scenario(3, num_satellites=2, num_stations=1, num_windows=7, horizon_s=2400, busy_frac=0.0)
    decoder = Decoder(problem)
    best = max(decoder.seconds(np.array(order)) for order in itertools.permutations(range(7)))
    found = FfeeaSatellite(patience=60).search(decoder, watch=Stopwatch(60), rng=np.random.default_rng(0))
    assert found.fitness == decoder.seconds(found.order) == best


def test_the_constraint_program_finds_links_that_keep_every_rule_and_a_bound() -> None:
    problem = scenario(3, num_satellites=2, num_stations=1, num_windows=7, horizon_s=2400, busy_frac=0.0)
    decoder = Decoder(problem)
    greedy = decoder.links(best_order(decoder))
    found = exact(problem, budget_s=2, start=greedy)
    best = max(decoder.seconds(np.array(order)) for order in itertools.permutations(range(7)))
    assert faults(problem, found.links) == []
    assert link_s(greedy) <= found.link_s <= found.bound_s <= problem.most_s
    assert best <= found.bound_s


def test_the_first_setup_and_the_last_teardown_may_stick_out() -> None:
    first = LinkTask(id="f", kind="link", arrival_s=0.0, satellite="x", windows=(Window(("a",), 101, 140),), min_s=1,
                     max_s=39, setup_s=1)  # fmt: skip
    last = LinkTask(id="l", kind="link", arrival_s=0.0, satellite="y", windows=(Window(("a",), 101, 141),), min_s=1,
                    max_s=2, teardown_s=1)  # fmt: skip
    found = exact(LinkProblem(tasks=(first, last), antennas=("a",)), budget_s=20)
    assert (found.status, found.link_s, found.bound_s) == ("optimal", 40, 40)


@settings(max_examples=15, deadline=None)
@given(problems())
def test_no_order_beats_the_constraint_program(problem: LinkProblem) -> None:
    found = exact(problem, budget_s=20)
    assert found.status == "optimal"
    assert faults(problem, found.links) == []
    decoder, rng = Decoder(problem), np.random.default_rng(0)
    orders = np.array([rng.permutation(len(problem.tasks)) for _ in range(50)])
    assert decoder.all_seconds(orders).max() <= found.link_s == found.bound_s


@pytest.mark.parametrize("fuzzy", [True, False])
def test_search_never_ends_below_what_it_begins_with(fuzzy: bool) -> None:
    decoder = Decoder(scenario(1, num_windows=120, num_satellites=20, num_stations=4))
    how = FfeeaSatellite(fuzzy=fuzzy, generations=20)
    found = how.search(decoder, watch=Stopwatch(60), rng=np.random.default_rng(0))
    assert found.fitness == decoder.seconds(found.order) >= decoder.seconds(best_order(decoder))
    assert faults(decoder.problem, decoder.links(found.order)) == []
    assert [best for *_, best in found.history] == sorted(best for *_, best in found.history)


def test_estimates_save_evaluations_and_never_invent_the_best() -> None:
    decoder = Decoder(scenario(2, num_windows=150, num_satellites=20, num_stations=4))
    exact, fuzzy = (
        FfeeaSatellite(fuzzy=one, generations=60, patience=0).search(
            decoder, watch=Stopwatch(60), rng=np.random.default_rng(0)
        )
        for one in (False, True)
    )
    assert fuzzy.num_real + fuzzy.num_fuzzy == exact.num_real == 6100
    assert fuzzy.num_real < 0.7 * exact.num_real
    assert fuzzy.fitness == decoder.seconds(fuzzy.order) > 0.98 * exact.fitness


def test_an_estimate_is_the_weighted_mean_of_the_nearest() -> None:
    known = np.array([[0, 1, 2, 3], [0, 1, 3, 2], [3, 2, 1, 0]])
    values = {tuple(row): value for row, value in zip(known.tolist(), (10.0, 20.0, 90.0), strict=True)}
    asked: list[tuple[int, ...]] = []

    def evaluate(rows: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        asked.extend(tuple(row) for row in rows.tolist())
        return np.array([values[tuple(row)] for row in rows.tolist()])

    how = Fuzzy(alike=0.2, maybe_alike=0.2, neighbours=2, forced_frac=0.0, halving_frac=0.25)
    fitness, rng = FuzzyFitness(evaluate, 4, how), np.random.default_rng(0)
    assert fitness.of(known, np.inf, rng).tolist() == [10.0, 20.0, 90.0]
    found = fitness.of(np.array([[0, 2, 1, 3], [0, 1, 2, 3]]), np.inf, rng)
    one, other = 8 / 15 + 1 / 15, 8 / 15  # weights of places halve: 8, 4, 2, 1
    assert found == pytest.approx([(10 * one + 20 * other) / (one + other), 10.0])
    assert len(asked) == 3
    values[0, 2, 1, 3] = 15.0
    assert fitness.of(np.array([[0, 2, 1, 3]]), 12.0, rng).tolist() == [15.0]  # it would be among the best
    assert (fitness.num_real, fitness.num_fuzzy) == (4, 2)


def test_crossover_adapts() -> None:
    values, how = np.array([1.0, 2.0, 3.0]), Evolution()
    assert crossed_odds(values, np.array([1.0, 2.0, 2.5, 3.0]), how) == pytest.approx([0.9, 0.9, 0.7, 0.5])
    assert crossed_odds(values, np.array([3.0]), Evolution(adaptive=False)) == pytest.approx([0.9])
    assert changed_places(100, 0, how) == 50 > changed_places(100, 10, how) > changed_places(100, 100, how) >= 4
    assert changed_places(100, 50, Evolution(adaptive=False)) == 50


def test_one_task_or_none_is_no_trouble() -> None:
    for num in (0, 1):
        decoder = Decoder(scenario(0, num_windows=num))
        fitness = ExactFitness(decoder.all_seconds)
        found = evolved(num, fitness, Evolution(), np.random.default_rng(0), watch=Stopwatch(5))
        assert found.fitness == decoder.problem.most_s


def test_a_plan_followed_in_an_untroubled_world_is_what_happens() -> None:
    problem = scenario(5, num_satellites=6, num_stations=3, num_windows=30, horizon_s=9000)
    policy = FfeeaSatellite(generations=10)
    world = LinkWorld(problem)
    simulate(world, policy, seed=0)
    plan = policy.plan(problem, budget_s=60, rng=np.random.default_rng(0))
    assert world.link_s > 0.95 * -plan.cost
    assert plan.bound is not None
    assert plan.cost >= plan.bound


def test_an_outage_costs_links_and_is_planned_around() -> None:
    problem = scenario(5, num_satellites=6, num_stations=2, num_windows=30, horizon_s=9000)
    world = LinkWorld(problem, [Outage("station-0", 1000.0, 9500.0)])
    report = simulate(world, FfeeaSatellite(generations=10), seed=0)
    calm = LinkWorld(problem)
    simulate(calm, FfeeaSatellite(generations=10), seed=0)
    assert 0.3 * calm.link_s < world.link_s < calm.link_s
    assert report.num_refused == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"windows": ()}, "t must have a window, got none"),
        ({"min_s": 60}, "1 <= min_s <= max_s, got 60 and 50"),
        ({"windows": (Window(("z",), 0, 9),)}, "antennas of t must be among those of the problem"),
        ({"windows": (Window(("a",), 9, 0),)}, "windows of t must end after they start"),
        ({"mode": 2}, "the mode of t must be in 0..1, got 2"),
    ],
)
def test_problems_that_contradict_themselves(change: dict[str, object], says: str) -> None:
    kept: dict[str, object] = {"windows": (Window(("a",), 0, 100),), "min_s": 10, "max_s": 50} | change
    task = LinkTask(id="t", kind="link", arrival_s=0.0, satellite="x", **kept)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=says):
        Decoder(LinkProblem(tasks=(task,), antennas=("a",), switch_s=((0, 1), (1, 0))))


def test_bad_parameters() -> None:
    with pytest.raises(ConfigError, match="shop/ffeea-satellite: alike must be in"):
        FfeeaSatellite(alike=1.5)
    with pytest.raises(ConfigError, match="archive must be >= 3, the neighbours, got 2"):
        FfeeaSatellite(archive=2)
    task = scenario(0, num_windows=1).tasks[0]
    with pytest.raises(PlanError, match="must have antennas"):
        FfeeaSatellite().plan(LinkProblem(tasks=(task,), antennas=()), budget_s=1, rng=np.random.default_rng(0))
