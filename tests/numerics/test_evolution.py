"""Operators on populations of permutations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.numerics import evolution

sizes = st.integers(1, 12)
seeds = st.integers(0, 2**16)


def are_permutations(rows: evolution.Rows) -> bool:
    return bool((np.sort(rows, axis=1) == np.arange(rows.shape[1])).all())


@given(sizes, seeds)
def test_a_child_keeps_the_segment_of_one_parent_and_the_order_of_the_other(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (evolution.random_permutations(7, size, rng) for _ in range(2))
    begin = rng.integers(size, size=7)
    length = rng.integers(size + 1, size=7)
    before = one.copy(), other.copy()
    children = evolution.order_crossover(one, other, begin, length)
    assert are_permutations(children)
    assert (one == before[0]).all()
    assert (other == before[1]).all()
    for nth, child in enumerate(children):
        kept = [place % size for place in range(begin[nth], begin[nth] + length[nth])]
        ours = set(one[nth, kept].tolist())
        assert child[kept].tolist() == one[nth, kept].tolist()
        rest = [x for x in child.tolist() if x not in ours]
        assert rest == [x for x in other[nth].tolist() if x not in ours]


@pytest.mark.parametrize("mutate", [evolution.swapped, evolution.with_reversal, evolution.with_insertion])
@given(size=sizes, seed=seeds)
def test_mutations_give_other_permutations(
    mutate: Callable[[evolution.Rows, np.random.Generator], evolution.Rows], size: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = evolution.random_permutations(9, size, rng)
    before = rows.copy()
    changed = mutate(rows, rng)
    assert are_permutations(changed)
    assert (rows == before).all()
    assert (changed != rows).any(axis=1).all() == (size > 1)


def test_an_insertion_moves_one_thing_and_shifts_those_between() -> None:
    rng = np.random.default_rng(1)
    rows = np.tile(np.arange(8), (200, 1))
    for row in evolution.with_insertion(rows, rng):
        assert any(np.delete(row, np.flatnonzero(row == x)).tolist() == [y for y in range(8) if y != x] for x in row)


def test_a_larger_tournament_chooses_fitter_ones() -> None:
    rng = np.random.default_rng(0)
    fitness = rng.random(50)
    means = [fitness[evolution.tournament(fitness, 4000, rng, size)].mean() for size in (1, 2, 5)]
    assert means[0] < means[1] < means[2]
    assert means[1] == pytest.approx(2 / 3, abs=0.1)


def test_roulette_chooses_in_proportion() -> None:
    rng = np.random.default_rng(0)
    chosen = evolution.roulette(np.array([1.0, 2.0, 4.0]), 8000, rng)
    assert np.bincount(chosen, minlength=3) / 8000 == pytest.approx([0.0, 0.25, 0.75], abs=0.02)
    assert set(evolution.roulette(np.ones(3), 100, rng).tolist()) == {0, 1, 2}


def test_the_best_are_never_lost() -> None:
    fitness = np.array([3.0, 1.0, 3.0, 5.0])
    assert evolution.fittest(fitness, 3).tolist() == [3, 0, 2]


def test_agreement_counts_places_by_their_weight() -> None:
    known = np.array([[0, 1, 2], [0, 2, 1], [2, 1, 0]])
    found = evolution.agreement(known[:1], known, np.array([2.0, 1.0, 1.0]))
    assert found.tolist() == [[1.0, 0.5, 0.25]]
