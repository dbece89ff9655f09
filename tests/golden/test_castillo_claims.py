"""What predicted lengths are worth: directions that must hold, and our own sizes, with margins to notice a change."""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "serving/castillo"
SEEDS = (0, 1)


@functools.cache
def verdict(name: str) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, True) for seed in SEEDS])


@pytest.mark.parametrize("name", ["jct", "jct-varied", "reservation", "endless", "spread", "schedulers", "prediction"])
def test_directions_hold(name: str) -> None:
    assert [one.name for one in verdict(name).directions if not one.holds] == []


def test_the_loss_of_the_law_against_the_truth_grows_with_what_samples_vary_by() -> None:
    """Expected: 5 to 20%. With samples that vary by 0.25 it is 3%, by 0.5 it is 11%, and 4% over so few."""
    loss = {name: verdict(name).sizes[0].mean - 1 for name in ("jct", "jct-varied")}
    assert 0.005 < loss["jct"] < 0.04
    assert 2 * loss["jct"] < loss["jct-varied"] < 0.2


def test_predictions_are_calibrated() -> None:
    assert [one.name for one in verdict("prediction").sizes if not one.agrees] == []
