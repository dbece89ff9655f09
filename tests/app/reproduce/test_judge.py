from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from headway.app.reproduce.claim import Below, Claim, Numbers, Of, Quantity, Ratio, Size, ratio, rising
from headway.app.reproduce.judge import Verdict, judge, plain


def never(seed: int, quick: bool) -> Numbers:
    raise AssertionError


def claim(directions: Sequence[Below] = (), sizes: Sequence[Size] = ()) -> Claim:
    return Claim(
        id="speed",
        text="a is quicker",
        source="table 1",
        hardware="a clock",
        here="a table",
        ours="a",
        contestants={"a": "ours", "b": "theirs"},
        measure=never,
        directions=directions,
        sizes=sizes,
        claimed={("b", "p50_ttft_s"): 3.0},
    )


def seeds(*pairs: tuple[float, float]) -> list[Numbers]:
    return [{"a": {"p50_ttft_s": a}, "b": {"p50_ttft_s": b}} for a, b in pairs]


def verdict_of(direction: Below, *pairs: tuple[float, float]) -> Verdict:
    return judge(claim([direction]), seeds(*pairs))


A, B = Of("a", "p50_ttft_s"), Of("b", "p50_ttft_s")


def test_a_direction_that_holds_in_every_seed_is_certain() -> None:
    (found,) = verdict_of(Below(A, B), (1.0, 2.0), (1.1, 2.0), (1.0, 2.1)).directions
    assert (found.holds, found.sure, found.num_held, found.num) == (True, True, 3, 3)
    assert found.name == "p50 TTFT: a < b"


def test_a_direction_that_holds_in_the_mean_alone_is_not_certain() -> None:
    (found,) = verdict_of(Below(A, B), (1.0, 4.0), (2.0, 1.9), (2.0, 1.9)).directions
    assert (found.holds, found.sure, found.num_held) == (True, False, 1)


def test_equal_is_not_below() -> None:
    assert not verdict_of(Below(A, B), (1.0, 1.0), (2.0, 2.0)).agrees_direction


def test_a_number_that_does_not_exist_agrees_with_nothing() -> None:
    nobody = Of("c", "p50_ttft_s")
    found = judge(claim([Below(A, nobody)], [Size(nobody, 1.0)]), seeds((1.0, 2.0)))
    assert (found.agrees_direction, found.agrees_magnitude) == (False, False)
    assert math.isnan(Ratio(A, Of("zero", "x")).of({"a": {"p50_ttft_s": 1.0}, "zero": {"x": 0.0}}))


@pytest.mark.parametrize(
    ("size", "agrees"),
    [
        (Size(Ratio(B, A), 3.9), True),
        (Size(Ratio(B, A), 4.1), False),
        (Size(Ratio(B, A), 1.1), True),
        (Size(Ratio(B, A), 0.9), False),
        (Size(Ratio(B, A), 3.1, factor=1.5), False),
        (Size(Ratio(B, A), 2.4, slack=0.5), True),
        (Size(Ratio(B, A), 2.6, slack=0.5), False),
    ],
)
def test_a_size_agrees_within_its_factor_or_slack(size: Size, agrees: bool) -> None:
    found = judge(claim(sizes=[size]), seeds((1.0, 2.0), (2.0, 4.0)))
    assert found.sizes[0].mean == 2.0
    assert found.agrees_magnitude is agrees


@pytest.mark.parametrize(("claimed", "least", "most"), [(1.2, 1.0, 2.4), (4.0, 2.0, 8.0), (0.8, 0.4, 1.0)])
def test_a_ratio_must_be_on_the_claimed_side_of_one(claimed: float, least: float, most: float) -> None:
    ratio_size = Size(Ratio(B, A), claimed)
    assert (ratio_size.least, ratio_size.most) == pytest.approx((least, most))
    assert Size(A, claimed).least == pytest.approx(claimed / 2)


def test_ratios_are_taken_seed_by_seed() -> None:
    found = judge(claim(sizes=[Size(ratio("p50_ttft_s", "b", "a"), 2.0)]), seeds((1.0, 3.0), (3.0, 3.0)))
    assert found.sizes[0].mean == 2.0  # the mean of 3 and 1, not 6 over 4


def test_without_sizes_there_is_no_verdict_on_them() -> None:
    assert judge(claim([Below(A, B)]), seeds((1.0, 2.0))).agrees_magnitude is None


def test_rising_is_one_direction_per_neighbours() -> None:
    assert [below.name for below in rising("p50_ttft_s", "a", "b", "c")] == ["p50 TTFT: a < b", "p50 TTFT: b < c"]


@pytest.mark.parametrize(
    ("quantity", "name"),
    [
        (A, "p50 TTFT of a"),
        (Ratio(A, B), "p50 TTFT: a over b"),
        (Ratio(A, Of("a", "max_itl_s")), "p50 TTFT of a over max ITL of a"),
    ],
)
def test_quantities_have_names(quantity: Quantity, name: str) -> None:
    assert quantity.name == name


def test_plain_data_tell_ours_apart_from_baselines() -> None:
    whole = claim([Below(A, B)])
    told = plain(whole, judge(whole, seeds((1.0, 2.0), (3.0, 4.0))))
    assert told["measured"]["p50_ttft_s"]["mean"] == 2.0
    assert told["measured"]["p50_ttft_s"]["claimed"] is None
    assert list(told["baselines"]) == ["b"]
    assert told["baselines"]["b"]["about"] == "theirs"
    assert told["baselines"]["b"]["measured"]["p50_ttft_s"]["claimed"] == 3.0
