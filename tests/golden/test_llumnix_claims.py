"""Llumnix's claims in numbers: what was published, ours, and how far apart they may be.

Source: Sun et al. 2024, arXiv 2406.03243; see `headway.app.reproduce.claims.serving_llumnix` for the settings and
`headway reproduce serving/llumnix` for all claims over more seeds.
"""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.claims import llumnix_settings as settings
from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "serving/llumnix"


@functools.cache
def verdict(name: str, *seeds: int) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, True) for seed in seeds])


def missed(found: Verdict) -> list[str]:
    return [one.name for one in found.directions if not one.holds]


def test_long_requests_are_served_sooner_and_preempted_less() -> None:
    """Published: up to 70% of the loss by preemption saved, P99 time per token halved; ours is of that order."""
    found = settings.serving("long", ("llumnix", "infaas", "round-robin"), 0, True)
    llumnix, infaas, turns = found["llumnix"], found["infaas"], found["round-robin"]
    assert llumnix["num_preemptions"] < 0.5 * infaas["num_preemptions"]
    assert 1.2 < infaas["p99_tpot_s"] / llumnix["p99_tpot_s"] < 4
    assert llumnix["mean_e2e_s"] < infaas["mean_e2e_s"] < turns["mean_e2e_s"]
    assert turns["p99_ttft_s"] > 10 * infaas["p99_ttft_s"]


def test_high_priority_is_isolated_from_bursts() -> None:
    """Published: requests of high priority end 1.2 to 1.5 times as fast."""
    found = verdict("priorities-cv-8", 0).measured
    gain = found["llumnix-base"]["high_mean_e2e_s"].mean / found["llumnix"]["high_mean_e2e_s"].mean
    assert 1.0 < gain < 2.0
    assert found["llumnix"]["high_p99_ttft_s"].mean < found["llumnix-base"]["high_p99_ttft_s"].mean


def test_the_pause_of_a_live_migration_is_short_and_does_not_grow() -> None:
    """Published: 20 to 30 ms whatever the length, and up to 111 times that for the other ways."""
    assert missed(verdict("pause", 0)) == []
    live, blocking = (settings.pause_s(how, 4096) for how in ("live", "blocking"))
    assert live < 0.03 < 0.2 < blocking
    assert blocking == pytest.approx(4200 * 524_288 / 8e9, rel=0.1)
