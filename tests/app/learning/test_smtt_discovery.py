"""The search for a rule of one machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.app.learning import smtt_discovery as discovery
from headway.app.learning.training import TrainNews, TrainSpec, train
from headway.policies.shop.making import single_machine
from headway.policies.shop.smtt_eddc_mddc import SmttEddcMddc
from headway.policies.shop.smtt_expression import MOST_WORDS, Expression, from_arrays, parse
from headway.policies.shop.smtt_rules import sequence, total_tardiness


def is_sound(expression: Expression) -> bool:
    return from_arrays(dict(expression.arrays)) == expression == parse_back(expression)


def parse_back(expression: Expression) -> Expression:
    again = parse(expression.text)
    return Expression(again.words, expression.values) if np.allclose(again.values, expression.values) else again


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20))
def test_every_change_of_a_program_is_a_program(seed: int) -> None:
    rng = np.random.default_rng(seed)
    island = [(1.0, parse("(max (+ t p) (* 1.1 d))")), (2.0, parse("(square (/ p longest))"))]
    for _ in range(20):
        child = discovery.proposed(island, rng)
        assert len(child.words) > MOST_WORDS or is_sound(child)


def test_the_cost_is_that_of_the_rule() -> None:
    p, d = discovery.training_instances(20, np.random.default_rng(0))
    by_hand = np.mean([total_tardiness(sequence("mdd", *one), *one) for one in zip(p, d, strict=True)])
    assert discovery.cost(parse("(max (+ t p) d)"), (p, d)) == pytest.approx(by_hand)


def test_the_weaker_half_begins_anew_with_the_best_of_others() -> None:
    islands = [[(float(n), parse("d")), (9.0, parse("p"))] for n in (3, 0, 2, 1)]
    discovery.begin_anew(islands, np.random.default_rng(0))
    assert [island[0][0] for island in islands[:2]] == [0.0, 1.0]
    assert all(len(island) == 1 and island[0][0] in (0.0, 1.0) for island in islands[2:])


def test_a_search_from_the_due_date_alone_gets_better_and_is_kept(tmp_path: Path) -> None:
    told: list[TrainNews] = []
    start = {**parse("d").arrays}
    about = train(
        "shop/smtt-eddc-mddc",
        TrainSpec(seed=1, budget_s=4.0, tell=told.append, start=start),
        tmp_path / "rule.npz",
    )
    valid = discovery.training_instances(300, np.random.default_rng(5))
    assert discovery.cost(parse(str(about["text"])), valid) < 0.95 * discovery.cost(parse("d"), valid)
    assert told[-1].done_frac == 1.0
    solver = SmttEddcMddc(rule="evolved", weights=str(tmp_path / "rule.npz"))
    problem = single_machine("x", [3, 1, 2], [9, 1, 3])
    assert solver.solve(problem, budget_s=1, rng=np.random.default_rng(0)).objective == 0


def test_the_rule_shipped_is_better_than_mdd_on_what_it_has_not_seen() -> None:
    from headway.numerics import nets
    from headway.policies.shop.smtt_expression import SHIPPED

    unseen = discovery.training_instances(1500, np.random.default_rng(77))
    ours = discovery.cost(from_arrays(nets.load(SHIPPED)), unseen)
    assert ours < discovery.cost(parse("(max (+ t p) d)"), unseen)
