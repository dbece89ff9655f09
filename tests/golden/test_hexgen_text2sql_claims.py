"""HexGen-Text2SQL's claims in numbers: what was published, ours, and how far apart they may be.

Source: Peng et al. 2025, arXiv 2505.05286; `headway reproduce serving/hexgen-text2sql` has all claims over more seeds.
"""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.claims import hexgen_settings as settings
from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "serving/hexgen-text2sql"


@functools.cache
def verdict(name: str) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, False) for seed in (0, 1)])


def missed(found: Verdict) -> list[str]:
    return [one.name for one in found.directions if not one.holds] + [o.name for o in found.sizes if not o.agrees]


def test_queries_are_done_sooner_than_with_round_robin_by_about_the_published_factor() -> None:
    found = verdict("p95")
    assert missed(found) == []
    gains = [size.mean for size in found.sizes]
    assert gains == pytest.approx([1.52, 1.76, 1.92], rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["throughput", "equal-fleet"])
def test_directions_and_sizes_agree(name: str) -> None:
    assert missed(verdict(name)) == []


@pytest.mark.slow
def test_urgency_helps_where_calls_wait() -> None:
    found = verdict("levels").measured
    p95_s = {who: numbers["p95_jct_s"].mean for who, numbers in found.items()}
    assert p95_s["urgency"] < p95_s["vllm"]
    assert p95_s["hexgen-few"] < 0.9 * p95_s["dispatch-few"]
    assert p95_s["hexgen"] == pytest.approx(p95_s["dispatch"], rel=0.15)


def test_calls_go_round_and_only_to_instances_that_could_hold_them() -> None:
    where = settings.scenario("text2sql-1", settings.MIXED, 0.02, True)
    assert {place.spec.accelerator for place in where.places} == {"a100-80gb-sxm", "l40s", "a40"}
    assert min(place.num_blocks * 16 for place in where.places) > 20_000
