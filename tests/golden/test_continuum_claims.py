"""Continuum's claims in numbers: what was published, ours, and how far apart they may be.

Source: Li et al. 2025, arXiv 2511.02230; `headway reproduce serving/continuum` has all claims over more seeds.
"""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "serving/continuum"


@functools.cache
def verdict(name: str, quick: bool = False) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, quick) for seed in (0,)])


def missed(found: Verdict) -> list[str]:
    return [one.name for one in found.directions if not one.holds] + [o.name for o in found.sizes if not o.agrees]


@pytest.mark.parametrize("name", ["jct-swe", "jct-bfcl", "long-tools", "memoryfulness"])
def test_directions_and_sizes_agree(name: str) -> None:
    assert missed(verdict(name)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["load", "turns"])
def test_the_gap_opens_with_load_and_turns(name: str) -> None:
    assert missed(verdict(name)) == []


def test_the_headline_is_what_it_was() -> None:
    """Published: about twice as soon as vLLM on an 8B model."""
    found = verdict("jct-swe").measured
    gain = found["vllm"]["mean_jct_s"].mean / found["continuum"]["mean_jct_s"].mean
    assert gain == pytest.approx(2.15, rel=0.25)


@pytest.mark.slow
def test_the_learnt_time_to_live_is_not_the_best_and_a_dearer_reload_explains_it() -> None:
    """The one direction that does not agree, and the ablation that tells why."""
    found = verdict("ablation")
    assert missed(found) == ["mean JCT: continuum < fixed"]
    mean_s = {who: numbers["mean_jct_s"].mean for who, numbers in found.measured.items()}
    assert mean_s["dearer-reload"] < mean_s["continuum"]
    assert mean_s["dearer-reload"] == pytest.approx(mean_s["fixed"], rel=0.1)
