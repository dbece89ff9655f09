"""Rules for the total tardiness of one machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.numerics import nets
from headway.policies.shop.making import job_shop, single_machine
from headway.policies.shop.problem import Downtime, Job, Mode, Problem, Task
from headway.policies.shop.schedule import faults, objective
from headway.policies.shop.smtt_eddc_mddc import SmttEddcMddc
from headway.policies.shop.smtt_expression import Expression, from_arrays, parse, sequencing
from headway.policies.shop.smtt_rules import Floats, Rule, sequence, total_tardiness

P, D = [10, 11, 10, 10, 11, 10], [15, 11, 13, 11, 12, 11]
RULES: tuple[Rule, ...] = (
    "mddc", "mddc-plain", "mdd", "eddc", "eddc-printed", "edd", "psk", "spt", "wspt", "wmdd", "atc",
)  # fmt: skip

jobs = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 300), st.integers(0, 9)), min_size=1, max_size=12)


def arrays(pairs: list[tuple[int, int, int]]) -> tuple[Floats, Floats, Floats]:
    p, d, w = np.array(pairs, dtype=np.float64).T
    return p, d, w


def mddc_by_hand(durations: Floats, due: Floats) -> list[int]:
    """The publication's steps, one after the other."""
    left = sorted(range(len(durations)), key=lambda j: (durations[j], due[j]))
    order, t = [], 0.0
    while left:
        longest, mean = max(durations[j] for j in left), float(np.mean([durations[j] for j in left]))
        index = []
        for j in left:
            mu = max(1.1 * durations[j] + t, due[j])
            rho = min(durations[j] / (t + longest), 1.0)
            mu *= 1 + rho**2 / (1 + rho**2)
            index.append(mu + durations[j] / (t + mean))
        chosen = left.pop(int(np.argmin(index)))
        order.append(chosen)
        t += durations[chosen]
    return order


def test_the_example_of_the_publication() -> None:
    p, d = np.array(P, dtype=float), np.array(D, dtype=float)
    assert sequence("mddc", p, d).tolist() == [3, 5, 2, 0, 1, 4]
    assert sequence("mdd", p, d, ties="index").tolist() == [1, 0, 2, 3, 5, 4]
    cost = {rule: total_tardiness(sequence(rule, p, d), p, d) for rule in RULES}
    assert cost["mddc"] == 141
    assert total_tardiness(sequence("mdd", p, d, ties="index"), p, d) == 144
    assert cost["mdd"] == 141  # with the shorter of equal jobs first


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 300), st.integers(0, 9)), min_size=1, max_size=12))
def test_mddc_takes_the_steps_of_the_publication(pairs: list[tuple[int, int, int]]) -> None:
    p, d, _ = arrays(pairs)
    assert total_tardiness(sequence("mddc", p, d), p, d) == total_tardiness(np.array(mddc_by_hand(p, d)), p, d)


@settings(deadline=None)
@given(jobs)
def test_eddc_as_printed_is_the_earliest_due_date(pairs: list[tuple[int, int, int]]) -> None:
    p, d, _ = arrays(pairs)
    assert sequence("eddc-printed", p, d).tolist() == sequence("edd", p, d).tolist()


@settings(deadline=None)
@given(jobs, st.sampled_from(RULES), st.integers(0, 50))
def test_every_rule_gives_each_job_its_turn(pairs: list[tuple[int, int, int]], rule: Rule, begin: int) -> None:
    p, d, w = arrays(pairs)
    assert sorted(sequence(rule, p, d, w, begin=begin).tolist()) == list(range(len(p)))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 300), st.integers(0, 9)), min_size=2, max_size=12))
def test_the_unit_of_time_does_not_matter_when_it_is_normalised(pairs: list[tuple[int, int, int]]) -> None:
    p, d, _ = arrays(pairs)
    same = [sequence("mddc", unit * p, unit * d, normalise=True).tolist() for unit in (1.0, 1024.0)]
    assert same[0] == same[1]


def test_the_unit_of_time_matters_to_mddc_as_published() -> None:
    rng = np.random.default_rng(0)
    p, d = rng.integers(1, 101, 20).astype(float), rng.integers(400, 700, 20).astype(float)
    assert sequence("mddc", p, d).tolist() != sequence("mddc", p / 1000, d / 1000).tolist()


@settings(deadline=None)
@given(jobs)
def test_weights_of_one_change_nothing(pairs: list[tuple[int, int, int]]) -> None:
    p, d, _ = arrays(pairs)
    assert sequence("wmdd", p, d).tolist() == sequence("mdd", p, d).tolist()


@settings(max_examples=40, deadline=None)
@given(jobs, st.sampled_from((*RULES, "evolved")), st.integers(0, 40), st.integers(0, 30))
def test_schedules_keep_releases_downtimes_and_what_is_under_way(
    pairs: list[tuple[int, int, int]], rule: str, release: int, down: int
) -> None:
    tasks = [Task((Mode(p, ((0, 1),)),), job=k, release=release * (k % 2)) for k, (p, _, _) in enumerate(pairs)]
    tasks.append(Task((Mode(7, ((0, 1),)),), job=len(pairs), fixed_start=0))
    problem = Problem(
        name="x",
        tasks=tuple(tasks),
        jobs=(*(Job(due=d, weight=w) for _, d, w in pairs), Job()),
        capacity=(1,),
        objective="weighted_tardiness",
        downtimes=(Downtime(0, 10 + down, 25 + down),),
    )
    solver = SmttEddcMddc(rule=rule)  # type: ignore[arg-type]
    result = solver.solve(problem, budget_s=1, rng=np.random.default_rng(0))
    assert result.schedule is not None
    assert faults(problem, result.schedule) == []
    assert result.objective == objective(problem, result.schedule)


def test_a_better_start_is_kept() -> None:
    problem = single_machine("six", P, D)
    best = SmttEddcMddc().solve(problem, budget_s=1, rng=np.random.default_rng(0)).schedule
    worse = SmttEddcMddc(rule="edd").solve(problem, budget_s=1, rng=np.random.default_rng(0), start=best)
    assert worse.objective == 141


def test_other_problems_are_refused() -> None:
    problem = job_shop("two", [[(0, 3), (1, 2)], [(1, 4), (0, 1)]])
    with pytest.raises(ConfigError, match="shop/smtt-eddc-mddc: problem must be a single machine, got a job shop"):
        SmttEddcMddc().solve(problem, budget_s=1, rng=np.random.default_rng(0))


def test_weights_belong_to_the_evolved_rule() -> None:
    with pytest.raises(ConfigError, match="weights must come with rule 'evolved', got rule 'mddc'"):
        SmttEddcMddc(weights="some.npz")


def test_an_expression_can_be_written_read_and_kept(tmp_path: Path) -> None:
    text = "(+ (max (+ (* 1.1 p) t) d) (/ (square p) (- longest mean)))"
    expression = parse(text)
    assert expression.text == text
    nets.save(tmp_path / "rule.npz", expression.arrays, {})
    assert from_arrays(nets.load(tmp_path / "rule.npz")) == expression


def test_mdd_as_an_expression_is_mdd() -> None:
    rng = np.random.default_rng(0)
    rule = sequencing(parse("(max (+ t p) d)"))
    for _ in range(20):
        p, d = rng.integers(1, 101, 15).astype(float), rng.integers(0, 800, 15).astype(float)
        assert rule(p, d, 0.0).tolist() == sequence("mdd", p, d).tolist()


def test_mddc_as_an_expression_is_mddc() -> None:
    rng = np.random.default_rng(0)
    share = "(square (/ p (+ t longest)))"
    rule = sequencing(parse(f"(+ (* (max (+ (* 1.1 p) t) d) (+ 1 (/ {share} (+ 1 {share})))) (/ p (+ t mean)))"))
    for _ in range(20):
        p, d = rng.integers(1, 101, 15).astype(float), rng.integers(0, 800, 15).astype(float)
        assert rule(p, d, 0.0).tolist() == sequence("mddc", p, d).tolist()


@pytest.mark.parametrize("text", ["", "(max p", "(mux p d)", "(max p d) t", "x", "(+ p)", "()"])
def test_what_is_no_expression_is_one_clear_error(text: str) -> None:
    with pytest.raises(ConfigError, match="an expression must be made of p d t longest mean"):
        parse(text)


@pytest.mark.parametrize("words", [(), (6,), (0, 1), (0, 1, 99), (0, 6)])
def test_broken_files_are_refused(words: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="an expression must be made of"):
        from_arrays(Expression(words, (0.0,) * len(words)).arrays)


def test_an_order_that_breaks_a_deadline_is_no_schedule() -> None:
    problem = single_machine("two", [4, 6], [4, 6], jobs=(Job(due=4), Job(due=6, deadline=6)))
    found = SmttEddcMddc().solve(problem, budget_s=1, rng=np.random.default_rng(0))
    assert (found.status, found.schedule) == ("unknown", None)
    assert "after its deadline at 6" in found.why
