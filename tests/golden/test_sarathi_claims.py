"""Sarathi-Serve's claims in numbers: what was published, ours, and how far apart they may be.

Source: Agrawal et al. 2024, arXiv 2403.02310; see `headway.app.reproduce.claims.serving_sarathi` for the settings and
`headway reproduce serving/sarathi` for all claims over more seeds. The margins around our own numbers are there to
notice a change of the world or of the prices; the verdicts are those of the claims.
"""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims import sarathi_settings as settings
from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "serving/sarathi"
SEEDS = (0, 1, 2)


@functools.cache
def verdict(name: str) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, True) for seed in SEEDS])


def mean(name: str, contestant: str, metric: str) -> float:
    return verdict(name).measured[contestant][metric].mean


def missed(found: Verdict) -> list[str]:
    return [one.name for one in found.directions if not one.holds] + [o.name for o in found.sizes if not o.agrees]


@pytest.mark.parametrize(
    "name", ["ablation-openchat", "ablation-arxiv", "budget-sweep", "chunking-overhead", "stalls", "pipeline-bubbles"]
)
def test_directions_and_sizes_agree(name: str) -> None:
    assert missed(verdict(name)) == []


@pytest.mark.parametrize(
    ("contestant", "p50_ttft_s", "p99_itl_s"),  # as published; ours within a factor of two
    [
        ("hybrid-only", 0.53, 0.68),
        ("chunk-only", 1.04, 0.17),
        ("both", 0.76, 0.14),
        ("chunk-only-512", 1.04, 0.17),
        ("both-512", 0.76, 0.14),
    ],
)
def test_the_ablation_on_openchat_has_the_published_size(contestant: str, p50_ttft_s: float, p99_itl_s: float) -> None:
    for metric, published in (("p50_ttft_s", p50_ttft_s), ("p99_itl_s", p99_itl_s)):
        assert published / 2 < mean("ablation-openchat", contestant, metric) < published * 2


def test_the_headline_gain_over_vllm_and_orca_on_openchat() -> None:
    """Published: up to 2.6 times vLLM within a P99 gap of 0.1 s; ours is 2.8 over these requests and over more."""
    found: Numbers = settings.strict("mistral", ("openchat",), 0.1, 0, True)
    gain = found["sarathi"]["openchat_per_s"] / found["vllm"]["openchat_per_s"]
    assert 2.6 / 2 < gain < 2.6 * 2
    assert gain == pytest.approx(2.83, rel=0.2)
    assert found["orca"]["openchat_per_s"] < found["sarathi"]["openchat_per_s"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["capacity-mistral", "capacity-yi", "bound-curve"])
def test_capacities_agree(name: str) -> None:
    assert missed(verdict(name)) == []
