"""Intelligence per Watt's claims: what agrees with the publication, and what does not."""

from __future__ import annotations

import functools

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "serving/intelligence-per-watt"
SEEDS = (0, 1, 2)


@functools.cache
def verdict(name: str) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, True) for seed in SEEDS])


def test_savings_rise_with_the_accuracy_of_the_router() -> None:
    assert [one.name for one in verdict("routing").directions if not one.holds] == []


def test_there_is_less_to_save_than_published() -> None:
    """Energy: published 80%; about 54% here, and 78% against a cloud that answers one query at a time."""
    energy = next(size for size in verdict("routing").sizes if size.name == "energy saving of oracle")
    assert 0.4 < energy.mean < 0.65


def test_watts_favour_what_is_slow_and_joules_do_not() -> None:
    assert [one.name for one in verdict("hardware").directions if not one.holds] == ["accuracy per watt: l4 < b200"]
