"""DeepSoCS: sooner than HEFT, and the more so the more times depart from what is expected."""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "shop/deepsocs"


@functools.cache
def verdict(name: str, num_seeds: int, quick: bool) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, quick) for seed in range(num_seeds)])


def against(found: Verdict, rival: str) -> list[str]:
    """Return the directions against a rival that do not hold."""
    return [one.name for one in found.directions if one.name.endswith(f"< {rival}") and not one.holds]


def test_heft_is_beaten_in_a_few_short_streams() -> None:
    assert against(verdict("latency", 2, True), "heft") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["latency", "noise", "radio"])
def test_heft_and_rules_without_plans_are_beaten_for_sure(name: str) -> None:
    found = verdict(name, 10, False)
    assert [one.name for one in found.directions if "etf-held" not in one.name and not one.sure] == []


@pytest.mark.slow
def test_the_advantage_over_heft_widens_with_noise() -> None:
    found = verdict("noise", 10, False)
    widening = [one for one in found.directions if " over " in one.name]
    assert len(widening) == 2
    assert all(one.holds for one in widening)
