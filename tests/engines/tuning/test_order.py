"""Which examples are computed when."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engines.tuning.order import Rows, training_order, validation_order
from headway.engines.tuning.schedule import learning_rate

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40).map(lambda all: np.array(all, np.int64))


@settings(max_examples=100, deadline=None)
@given(LENGTHS, st.integers(1, 9), st.integers(1, 100), st.integers(0, 5), st.integers(0, 3))
def test_every_example_is_seen_once_per_epoch(
    lengths: np.ndarray, batch: int, most: int, seed: int, epoch: int
) -> None:
    rows = training_order(lengths, lengths, batch, most, seed, epoch)
    seen = [example for one in rows for example in one.examples]
    assert sorted(seen) == list(range(len(lengths)))
    for one in rows:
        assert one.length == lengths[list(one.examples)].max()
        assert one.microbatch.tokens <= most or len(one.examples) == 1
    for part in _split(rows):
        assert {one.batch_trained for one in part} == {sum(lengths[list(one.examples)].sum() for one in part)}
    assert sum(one.updates for one in rows) == -(-len(lengths) // batch)


def _ends(rows: list[Rows]) -> list[int]:
    return [index + 1 for index, one in enumerate(rows) if one.updates]


def _split(rows: list[Rows]) -> list[list[Rows]]:
    starts = [0, *_ends(rows)]
    return [rows[first:last] for first, last in itertools.pairwise(starts)]


def test_the_order_is_another_in_every_epoch_and_the_same_again() -> None:
    lengths = np.full(50, 7)
    orders = [training_order(lengths, lengths, 5, 100, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_a_validation_trains_nothing_and_sees_all() -> None:
    lengths = np.array([3, 9, 4])
    rows = validation_order(lengths, lengths, 9)
    assert sorted(example for one in rows for example in one.examples) == [0, 1, 2]
    assert not any(one.trains or one.updates for one in rows)
    assert {one.batch_trained for one in rows} == {16}


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_learning_rate_rises_and_never_comes_back_above(schedule: str) -> None:
    rates = [learning_rate(2.0, schedule, 0.1, step, 100) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == rates[10] == 2.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == 2.0 if schedule == "constant" else 0 < rates[-1] < 0.05


def test_a_single_step_is_made_at_the_peak() -> None:
    assert learning_rate(1.0, "linear", 0.03, 0, 1) == 1.0
