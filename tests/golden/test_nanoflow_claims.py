"""NanoFlow's claims in numbers: what was published, ours, and how far apart they may be.

Source: Zhu et al. 2024, arXiv 2408.12757; see `headway.app.reproduce.claims.serving_nanoflow` for the settings and
`headway reproduce serving/nanoflow` for all claims.
"""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.claims import nanoflow_settings as settings
from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "serving/nanoflow"


@functools.cache
def verdict(name: str) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(0, True)])


def missed(found: Verdict) -> list[str]:
    return [one.name for one in found.directions if not one.holds] + [o.name for o in found.sizes if not o.agrees]


@pytest.mark.parametrize("name", ["ablation", "operations", "steps"])
def test_directions_and_sizes_agree(name: str) -> None:
    assert missed(verdict(name)) == []


def test_the_optimum_is_that_of_the_paper() -> None:
    """Published: 1857 tokens per second and A100, from 280 TFLOP/s as measured; ours is from 260 in fitted kernels."""
    assert settings.optimal_per_s() == pytest.approx(1857, rel=0.05)


def test_nano_batches_alone_lose_and_overlap_wins() -> None:
    """Published: 982, 1106 and 1323 tokens per second and accelerator."""
    measured = verdict("ablation").measured
    found = {who: measured[who]["tokens_per_s"].mean for who in measured}
    assert found["nano-batches"] / found["non-overlap"] == pytest.approx(0.94, abs=0.04)
    assert found["nanoflow"] / found["non-overlap"] == pytest.approx(1.14, abs=0.05)


@pytest.mark.slow
def test_offline_throughput() -> None:
    found = verdict("offline")
    assert all(one.holds for one in found.directions)
    assert [one.name for one in found.sizes if not one.agrees and "over vllm" not in one.name] == []
