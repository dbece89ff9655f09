"""LoRAFusion's scheduler: groups, packing, merging and the bubble rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Arrived
from headway.policies.tuning.lorafusion import LoraFusion
from headway.policies.tuning.lorafusion_board import PipelineBoard
from headway.policies.tuning.lorafusion_groups import grouped, needs_of
from headway.policies.tuning.lorafusion_merge import merge_pass
from headway.policies.tuning.lorafusion_nouns import AdapterJob, Enter, Mix, Part
from headway.policies.tuning.lorafusion_plan import Knobs, Left, Pipe, planned
from headway.policies.tuning.lorafusion_rule import num_missing, spaced
from headway.sim.tuning.lorafusion import PipelineWorld, PipeSpec, TrueJob

KNOBS = Knobs(k_sigma=0.25, max_group=2, merge_tokens=8, lookahead=4, max_nodes=200)
JOBS = st.lists(
    st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=5), min_size=1, max_size=4), min_size=1, max_size=4
)


def part(job: str, batch: int, *lengths: int, first: int = 0) -> Part:
    return Part(job, batch, tuple(range(first, first + len(lengths))), lengths)


def left_of(jobs: list[list[list[int]]]) -> list[Left]:
    return [
        Left(f"job-{nth}", 0, tuple(dict(enumerate(batch)) for batch in batches)) for nth, batches in enumerate(jobs)
    ]


def assert_sound(mixes: list[Mix], jobs: list[list[list[int]]], pipe: Pipe, under_way: list[Mix]) -> None:
    seen: list[tuple[str, int, int]] = []
    last: dict[tuple[str, int], int] = {}
    for place, mix in enumerate([*under_way, *mixes]):
        assert mix.padded_tokens(pipe.tile_tokens) <= pipe.capacity_tokens
        for one in mix.parts:
            before = last.get((one.job, one.batch - 1))
            assert before is None or place - before >= pipe.num_stages
            assert (one.job, one.batch + 1) not in last
            last[one.job, one.batch] = place
            seen += [(one.job, one.batch, number) for number in one.samples]
    todo = [
        (f"job-{nth}", batch, number)
        for nth, batches in enumerate(jobs)
        for batch, lengths in enumerate(batches)
        for number in range(len(lengths))
    ]
    assert sorted(seen) == sorted(todo)


@given(jobs=JOBS, num_stages=st.integers(1, 4), tile=st.sampled_from([1, 8]), nodes=st.sampled_from([0, 200]))
def test_a_plan_takes_every_example_once_within_capacity_and_at_a_distance(
    jobs: list[list[list[int]]], num_stages: int, tile: int, nodes: int
) -> None:
    pipe = Pipe(num_stages, 64, tile)
    knobs = Knobs(KNOBS.k_sigma, KNOBS.max_group, KNOBS.merge_tokens, KNOBS.lookahead, nodes)
    assert_sound(planned(left_of(jobs), pipe, knobs), jobs, pipe, [])


@given(jobs=JOBS)
def test_a_plan_keeps_its_distance_from_what_is_under_way(jobs: list[list[list[int]]]) -> None:
    first = [Mix((Part("job-0", 0, tuple(range(len(jobs[0][0]))), tuple(jobs[0][0])),))]
    left = left_of(jobs)
    left[0] = Left("job-0", 0, ({}, *left[0].batches[1:]))
    pipe = Pipe(3, 512, 1)
    assert_sound([*first, *planned(left, pipe, KNOBS, first)], jobs, pipe, [])


@given(jobs=JOBS, num_stages=st.integers(1, 4))
def test_in_a_pipeline_all_of_it_is_trained_and_nothing_refused(jobs: list[list[list[int]]], num_stages: int) -> None:
    spec = PipeSpec(num_stages=num_stages, capacity_tokens=64, tile_tokens=4)
    true = [
        TrueJob(job=AdapterJob(id=f"j{nth}", arrival_s=0.0, lengths=tuple(tuple(one) for one in batches)))
        for nth, batches in enumerate(jobs)
    ]
    world = PipelineWorld(true, spec)
    report = simulate(world, LoraFusion(merge_tokens=8, max_nodes=100))
    assert not report.num_refused
    assert world.trained_tokens == sum(one.job.num_tokens for one in true)
    assert len(world.finished_s) == len(jobs)


def test_the_cautious_count_is_below_the_mean_by_a_quarter_of_the_deviation() -> None:
    needs = needs_of([[10, 30], [10, 30]], 0.25)
    assert needs.mean_tokens == 40
    assert needs.least_tokens == pytest.approx(2 * (20 - 0.25 * 10))


def test_the_longest_is_paired_with_the_shortest_where_the_others_cover_the_pipeline() -> None:
    lengths = {"long": [[90] * 4], "short": [[30] * 4], "middle": [[60] * 4], "other": [[50] * 4]}
    assert grouped(lengths, 100, 3, k_sigma=0.25, max_group=2) == [("long", "short"), ("middle", "other")]
    assert grouped(lengths, 100, 3, k_sigma=0.25, max_group=1) == [("long",), ("middle",), ("other",), ("short",)]


def test_a_pair_stays_apart_where_the_others_would_not_cover_the_pipeline() -> None:
    lengths = {"long": [[100] * 4], "short": [[100]], "middle": [[100] * 2]}
    # The third stage needs 2 microbatches of others, and middle has them.
    assert grouped(lengths, 100, 3, k_sigma=0.25, max_group=2) == [("long", "short"), ("middle",)]
    # Four stages need 3: middle alone does not have them, long does.
    assert grouped(lengths, 100, 4, k_sigma=0.25, max_group=2) == [("long",), ("middle", "short")]


def test_the_smallest_that_fits_is_merged_as_a_whole() -> None:
    mixes = [Mix((part("a", 0, 50),)), Mix((part("b", 0, 45),)), Mix((part("c", 0, 20),))]
    (first, second) = merge_pass(mixes, 100, 1, 1, merge_tokens=10, lookahead=8)
    assert [one.job for one in first.parts] == ["a", "c"]
    assert second == mixes[1]


def test_where_none_fits_examples_move_the_shortest_first() -> None:
    mixes = [Mix((part("a", 0, 80),)), Mix((part("b", 0, 60, 15, 25),))]
    first, second = merge_pass(mixes, 100, 1, 1, merge_tokens=10, lookahead=8)
    assert first == Mix((part("a", 0, 80), Part("b", 0, (1,), (15,))))
    assert second.parts[0].lengths == (25, 60)


def test_nothing_is_merged_that_would_break_the_bubble_rule() -> None:
    mixes = [Mix((part("a", 0, 50),)), Mix((part("b", 0, 90),)), Mix((part("a", 1, 10),))]
    assert num_missing(mixes, 2) == 0
    assert merge_pass(mixes, 100, 1, 2, merge_tokens=10, lookahead=8) == mixes


def test_empty_microbatches_keep_the_distance() -> None:
    mixes = [Mix((part("a", 0, 5),)), Mix((part("b", 0, 5),)), Mix((part("a", 1, 5),))]
    assert spaced(mixes, 4) == [*mixes[:2], Mix(), Mix(), mixes[2]]
    assert spaced(mixes[2:], 4, under_way=mixes[:2]) == [Mix(), Mix(), mixes[2]]


def test_the_plan_is_made_again_when_a_job_comes() -> None:
    board, policy = PipelineBoard(1, 100, 1), LoraFusion(merge_tokens=1)
    early = AdapterJob(id="early", arrival_s=0.0, lengths=((60,), (40,)))
    board.add(early)
    (enter,) = policy.decide(Arrived(at_s=0.0, work=early), board)
    assert isinstance(enter, Enter)
    assert board.apply(enter) is None
    late = AdapterJob(id="late", arrival_s=1.0, lengths=((55,),))
    board.add(late)
    board.leave()
    (second,) = policy.decide(Arrived(at_s=1.0, work=late), board)
    assert isinstance(second, Enter)
    assert {one.job for one in second.mix.parts} == {"early", "late"}


@pytest.mark.parametrize(
    "given",
    [{"max_group": 3}, {"k_sigma": -1.0}, {"merge_tokens": 0}, {"lookahead": -1}, {"max_nodes": -1}],
    ids=lambda given: next(iter(given)),
)
def test_parameters_out_of_range_are_named(given: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"tuning/lorafusion: {next(iter(given))} must be"):
        LoraFusion(**given)
