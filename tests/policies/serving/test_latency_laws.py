"""Laws of latency against a share of the compute, recovered from samples."""

from __future__ import annotations

import math

import pytest

from headway.policies.serving.latency_laws import TPOT_BASE_FRAC, Law, fit_tpot, fit_ttft

SHARES = (0.3, 0.4, 0.5, 0.6, 0.8)


def samples(law: Law) -> list[tuple[float, float]]:
    return [(share, law.at(share)) for share in SHARES]


def test_a_law_is_infinite_at_its_knee() -> None:
    law = Law(0.5, 0.1, knee=0.25)
    assert law.at(0.5) == pytest.approx(2.1)
    assert law.at(0.25) == math.inf


def test_tokens_per_share_are_recovered() -> None:
    law = fit_tpot(samples(Law(0.6284, 0.3818)))
    assert law.scale == pytest.approx(0.6284)
    assert law.base == pytest.approx(0.3818)
    assert law.r_squared(samples(Law(0.6284, 0.3818))) == pytest.approx(1.0)


def test_the_knee_of_a_queue_is_found_to_the_grid() -> None:
    true = Law(0.6809, 0.022, knee=0.15)
    law = fit_ttft(samples(true), knee=0.0)
    assert law.knee == pytest.approx(0.15, abs=0.02)
    assert law.r_squared(samples(true)) > 0.99


def test_one_share_fixes_the_shape_and_scales() -> None:
    law = fit_tpot([(0.5, 2.0), (0.5, 1.0)])
    assert law.at(0.5) == pytest.approx(1.5)
    assert law.base / law.at(1.0) == pytest.approx(TPOT_BASE_FRAC)
    law = fit_ttft([(0.5, 2.0)], knee=0.2)
    assert law.at(0.5) == pytest.approx(2.0)
    assert law.knee == 0.2


def test_a_load_beyond_the_smallest_share_is_cut() -> None:
    law = fit_ttft([(0.5, 2.0)], knee=3.0)
    assert law.knee < 0.5
    assert law.at(0.5) == pytest.approx(2.0)


def test_what_grows_with_the_share_is_no_law() -> None:
    law = fit_tpot([(0.2, 1.0), (0.8, 3.0)])
    assert law.scale == 0
    assert law.base == pytest.approx(2.0)
    assert math.isnan(law.r_squared([(0.2, 1.0)]))
