"""Layered prefill, against its rules; the instance has 4 layers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.layered_prefill import LayeredPrefill
from headway.policies.serving.nouns import Step
from policies.serving.making import OneInstance

Walk = list[tuple[str, int, tuple[int, int] | None]]


class Walking(OneInstance):
    """Tells the layers of each piece, too."""

    def walk(self) -> Walk:
        assert self.seat is not None
        draft = InstanceDraft(self.instance)
        step = self.seat.form(self.instance, draft, self.board.now_s)
        for action in draft.actions:
            assert self.board.apply(action) is None, action
        self.preempted = sorted(draft.preempted)
        if step is None:
            return []
        self.run(step)
        return [(piece.request, piece.tokens, piece.layers) for piece in step.pieces]

    def run(self, step: Step) -> None:
        assert self.board.apply(step) is None
        self.board.now_s += 1.0
        for state in self.board.advance(step, self.board.now_s):
            if state.output_tokens >= state.request.max_tokens:
                self.board.finish(state.id, "length", self.board.now_s)
        self.board.end(step)


def decoding(seat: LayeredPrefill, **settings: Any) -> Walking:
    """An instance on which "a" decodes."""
    one = Walking(seat, **settings)
    one.arrive("a", prompt=4, most=50)
    assert one.walk() == [("a", 4, None)]
    return one


def test_a_prompt_walks_through_groups_of_layers_beside_a_decode_and_yields_a_token_at_the_end() -> None:
    one = decoding(LayeredPrefill(group_tokens=10))
    one.arrive("b", prompt=20)
    assert one.walk() == [("a", 1, None), ("b", 20, (0, 2))]
    assert one.state("b").computed_tokens == 0  # progress in tokens comes with the last group
    assert one.walk() == [("a", 1, None), ("b", 20, (2, 4))]
    assert (one.state("b").computed_tokens, one.state("b").output_tokens) == (20, 1)
    assert one.walk() == [("a", 1, None), ("b", 1, None)]
    assert one.state("a").output_tokens == 4  # the decode had a token from every step


def test_nobody_joins_a_cohort_on_its_way() -> None:
    one = decoding(LayeredPrefill(group_tokens=10))
    one.arrive("b", prompt=20)
    one.walk()
    one.arrive("c", "d", prompt=8)
    assert one.walk() == [("a", 1, None), ("b", 20, (2, 4))]
    assert one.waiting == ["c", "d"]
    # The number of groups goes by the tokens of the cohort: 16 make two.
    assert one.walk() == [("a", 1, None), ("b", 1, None), ("c", 8, (0, 2)), ("d", 8, (0, 2))]


def test_where_nothing_decodes_a_prompt_goes_through_all_layers_at_once() -> None:
    one = Walking(LayeredPrefill(group_tokens=10))
    one.arrive("a", prompt=80)
    assert one.walk() == [("a", 80, None)]


def test_a_cohort_whose_last_decode_has_ended_takes_the_layers_that_are_left_at_once() -> None:
    one = Walking(LayeredPrefill(group_tokens=10))
    one.arrive("a", prompt=4, most=2)
    one.walk()
    one.arrive("b", prompt=40)
    assert one.walk() == [("a", 1, None), ("b", 40, (0, 1))]
    assert one.walk() == [("b", 40, (1, 4))]


def test_a_long_prompt_comes_in_chunks_each_of_which_walks_and_goes_before_new_prompts() -> None:
    one = decoding(LayeredPrefill(group_tokens=16, max_batched_tokens=33))
    one.arrive("b", prompt=50)
    one.arrive("c", prompt=10)
    assert one.walk() == [("a", 1, None), ("b", 32, (0, 2))]
    assert one.walk() == [("a", 1, None), ("b", 32, (2, 4))]
    assert len(one.state("b").blocks) == 4  # memory for all of it since admission
    assert one.walk() == [("a", 1, None), ("b", 18, (0, 2)), ("c", 10, (0, 2))]
    assert one.walk() == [("a", 1, None), ("b", 18, (2, 4)), ("c", 10, (2, 4))]
    assert one.state("b").output_tokens == one.state("c").output_tokens == 1


def test_a_preempted_prompt_loses_its_layers_and_waits_in_front() -> None:
    one = decoding(LayeredPrefill(group_tokens=10, watermark_frac=0), num_blocks=4)
    while one.state("a").known_tokens % 16 != 14:
        one.walk()
    one.arrive("b", prompt=48)
    assert one.walk() == [("a", 1, None), ("b", 48, (0, 1))]
    one.walk()
    one.arrive("c", prompt=4)
    assert one.walk() == [("a", 1, None), ("b", 48, (2, 3))]
    assert one.walk() == [("a", 1, None)]
    assert (one.preempted, one.waiting) == (["b"], ["b", "c"])
    assert one.state("b").layers_done == 0


@pytest.mark.parametrize(
    ("tokens", "up", "ladder"),
    [(1, 1, 1), (512, 1, 1), (513, 2, 2), (1025, 3, 4), (2048, 4, 4), (2049, 5, 8), (4097, 9, 16), (8192, 16, 16)],
)
def test_the_number_of_groups_is_that_of_the_paper_or_of_the_repository(tokens: int, up: int, ladder: int) -> None:
    assert LayeredPrefill().num_groups(tokens) == up
    assert LayeredPrefill(rounding="ladder").num_groups(tokens) == ladder
    assert LayeredPrefill(rounding="ladder", max_groups=12).num_groups(8192) == 12


@given(st.integers(1, 20_000), st.integers(1, 100), st.integers(1, 64))
def test_groups_cover_all_layers_evenly(tokens: int, num_layers: int, max_groups: int) -> None:
    bounds = LayeredPrefill(max_groups=max_groups).bounds(tokens, num_layers)
    sizes = [last - first for first, last in pairwise(bounds)]
    assert (bounds[0], bounds[-1]) == (0, num_layers)
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


def test_a_request_that_decoded_elsewhere_does_not_walk() -> None:
    one = decoding(LayeredPrefill(group_tokens=1))
    one.arrive("b", prompt=1, most=50)
    while one.state("b").output_tokens == 0:
        one.walk()
    state = one.state("b")
    one.instance.decodes.drop(state)  # as one that has just come from another instance
    one.instance.prefills["b"] = state
    assert one.walk() == [("a", 1, None), ("b", 1, None)]


@pytest.mark.parametrize(
    "wrong",
    [{"max_batched_tokens": 0}, {"max_seqs": 0}, {"group_tokens": 0}, {"max_groups": 0}, {"rounding": "down"},
     {"watermark_frac": 1.0}],
)  # fmt: skip
def test_parameters_out_of_range_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"serving/layered-prefill: {next(iter(wrong))} must be"):
        LayeredPrefill(**wrong)
