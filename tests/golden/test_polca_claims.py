"""POLCA's claims: directions that must hold, and the one that does not, with margins to notice a change."""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "serving/polca"
SEEDS = (0, 1)


@functools.cache
def verdict(name: str) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, True) for seed in SEEDS])


@pytest.mark.slow
def test_more_servers_fit_with_two_thresholds() -> None:
    assert [one.name for one in verdict("added").directions if not one.holds] == []


@pytest.mark.slow
def test_low_priority_pays_and_nobody_brakes() -> None:
    failed = {one.name for one in verdict("slowdowns").directions if not one.holds}
    assert not any("brakes" in name or "two < none" in name for name in failed)
