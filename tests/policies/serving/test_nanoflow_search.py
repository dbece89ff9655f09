"""Plans of nano-batches: what holds for any plan, and what is known of small ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.policies.serving.nanoflow_plan import (
    SPEEDS,
    Chain,
    Kind,
    NanoPlan,
    Operation,
    Points,
    least_s,
    one_after_the_other,
    speed,
)
from headway.policies.serving.nanoflow_search import search

HALVES = [(0.5, 0.5)]
FREE: Mapping[Kind, Points] = {
    "compute": ((0.0, 0.0), (1.0, 1.0)),
    "memory": ((0.0, 0.0), (0.1, 1.0), (1.0, 1.0)),
    "network": ((0.0, 0.0), (0.1, 1.0), (1.0, 1.0)),
}
"""Whatever does not compute needs a tenth of the device."""
NO_GAIN: Mapping[Kind, Points] = dict.fromkeys(SPEEDS, ((0.0, 0.0), (1.0, 1.0)))


def operation(kind: Kind, alone_s: float) -> Operation:
    return Operation(kind, kind, alone_s)


def timeline(plan: NanoPlan, chains: Sequence[Chain], speeds: Mapping[Kind, Points]) -> list[tuple[float, float]]:
    flat = [one for chain in chains for one in chain]
    took = [one.alone_s / speed(one.kind, share, speeds) for one, share in zip(flat, plan.shares, strict=True)]
    return [(end - lasts, end) for end, lasts in zip(plan.ends_s(took), took, strict=True)]


def check(plan: NanoPlan, chains: Sequence[Chain], speeds: Mapping[Kind, Points]) -> None:
    """Dependencies hold, what is bound by the same never overlaps, and no more than the device is given away."""
    flat, spans = [one for chain in chains for one in chain], timeline(plan, chains, speeds)
    number = 0
    for chain, cut in zip(chains, plan.cuts, strict=True):
        order = [number + (cut + place) % len(chain) for place in range(len(chain))]
        assert all(spans[one][1] <= spans[other][0] + 1e-9 for one, other in pairwise(order))
        number += len(chain)
    for moment in {begin for begin, _ in spans}:
        now = [index for index, (begin, end) in enumerate(spans) if begin - 1e-9 <= moment < end - 1e-9]
        assert len({flat[index].kind for index in now}) == len(now)
        assert sum(plan.shares[index] for index in now) <= 1 + 1e-9


kinds: st.SearchStrategy[Kind] = st.sampled_from(["compute", "memory", "network"])
layers = st.lists(st.builds(operation, kinds, st.floats(0.1, 3.0)), min_size=2, max_size=5)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(layers, st.sampled_from([SPEEDS, FREE, NO_GAIN]), st.sampled_from([(0.5, 0.5), (0.25, 0.75)]))
def test_whatever_the_layer_a_plan_keeps_the_rules(
    layer: list[Operation], speeds: Mapping[Kind, Points], split: tuple[float, ...]
) -> None:
    def cut(frac: float) -> list[Operation]:
        return [Operation(one.name, one.kind, one.alone_s * frac) for one in layer]

    plan = search(cut, splits=[split], speeds=speeds)
    chains = [cut(frac) for frac in plan.fracs]
    check(plan, chains, speeds)
    alone_s = sum(one.alone_s for one in layer)
    assert least_s(chains) - 1e-9 <= plan.frame_s(chains, speeds) <= alone_s + 1e-9


def test_two_equal_kinds_hide_behind_each_other() -> None:
    """Compute 1, network 1: with nano-batches half a layer apart both are always at work, the network at a tenth."""

    def cut(frac: float) -> list[Operation]:
        return [operation("compute", frac), operation("network", frac)]

    plan = search(cut, splits=HALVES, speeds=FREE)
    chains = [cut(0.5)] * 2
    assert plan.frame_s(chains, FREE) == pytest.approx(1 / 0.9)  # the products keep nine tenths
    assert plan.cuts == (0, 1)
    assert plan.num_frames(80) == 81


def test_where_sharing_gains_nothing_there_is_one_batch() -> None:
    plan = search(lambda frac: [operation("compute", frac), operation("memory", frac)], splits=HALVES, speeds=NO_GAIN)
    assert (plan.fracs, plan.cuts, plan.num_frames(80)) == ((1.0,), (0,), 80)


def test_nano_batches_that_cost_more_than_they_hide_are_not_taken() -> None:
    def cut(frac: float) -> list[Operation]:
        return [operation("compute", frac + (0.3 if frac < 1 else 0.0)), operation("network", 0.2 * frac)]

    assert search(cut, splits=HALVES, speeds=FREE).fracs == (1.0,)


def test_one_after_the_other_is_the_sum() -> None:
    chain = [operation("compute", 1.0), operation("network", 2.0), operation("compute", 3.0)]
    assert one_after_the_other(chain).frame_s([chain]) == 6.0


def test_attention_is_as_fast_as_published() -> None:
    assert speed("compute", 0.8) == pytest.approx(0.8)
    assert speed("memory", 0.2) == pytest.approx(0.3)
    assert speed("memory", 0.4) / 0.4 == max(speed("memory", n / 10) / (n / 10) for n in range(1, 11))
