"""The clairvoyant lies between those who guess and the best possible."""

from __future__ import annotations

import functools

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge


@functools.cache
def verdict() -> Verdict:
    (claim,) = chosen("serving/oracle", ("gap",))
    return judge(claim, [claim.measure(0, True)])


def test_nobody_beats_the_bound_and_the_clairvoyant_beats_whoever_ignores_promises() -> None:
    missed = [one.name for one in verdict().directions if not one.holds]
    assert [name for name in missed if "slos-serve" not in name or "possible" in name] == []


def test_how_near_the_clairvoyant_is_to_the_best_possible() -> None:
    found = verdict().measured["oracle"]
    assert 0.4 < found["of_possible_rate_at_90_per_s"].mean <= 1
    assert 0.8 < found["of_possible_overload_frac"].mean <= 1
