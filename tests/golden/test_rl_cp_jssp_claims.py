"""A learned dispatching policy against rules and a solver: directions that must hold."""

from __future__ import annotations

import pytest

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import judge

ID = "shop/rl-cp-jssp"


def test_it_beats_static_rules_on_small_shops() -> None:
    (claim,) = chosen(ID, ("rules",))
    found = judge(claim, [claim.measure(seed, True) for seed in range(3)]).measured
    for rule in ("fifo", "spt", "mopnr", "mwkr"):
        assert found["greedy"]["over_bound"].mean < found[rule]["over_bound"].mean, rule
    assert found["sampled"]["over_bound"].mean < found["greedy"]["over_bound"].mean


@pytest.mark.slow
def test_it_beats_static_rules_on_all_sizes() -> None:
    (claim,) = chosen(ID, ("rules",))
    verdict = judge(claim, [claim.measure(seed, False) for seed in range(5)])
    assert [one.name for one in verdict.directions if not one.holds] == []
