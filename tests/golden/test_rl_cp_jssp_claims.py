"""A learned dispatching policy against rules and a solver: directions that must hold."""

from __future__ import annotations

import pytest

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import judge

ID = "shop/rl-cp-jssp"


def test_it_beats_static_rules() -> None:
    """On the smallest and the largest size, two of each."""
    (claim,) = chosen(ID, ("rules",))
    verdict = judge(claim, [claim.measure(seed, True) for seed in (0, 1)])
    assert [one.name for one in verdict.directions if not one.holds] == []


@pytest.mark.slow
def test_it_beats_static_rules_on_all_sizes() -> None:
    (claim,) = chosen(ID, ("rules",))
    verdict = judge(claim, [claim.measure(seed, False) for seed in range(5)])
    assert [one.name for one in verdict.directions if not one.holds] == []
