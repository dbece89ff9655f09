from __future__ import annotations

import numpy as np
import pytest

from headway.traces.describe import describe, spread
from headway.traces.generate.arrivals import Poisson
from headway.traces.table import Labels, Prefixes, RequestTable


def test_a_poisson_process_looks_like_one() -> None:
    times = Poisson(rate_per_s=10.0).draw(50_000, np.random.default_rng(0))
    lengths = np.random.default_rng(1).integers(1, 100, (2, 50_000))
    found = describe(RequestTable(times, *lengths))
    assert found.rate_per_s == pytest.approx(10.0, rel=0.02)
    assert found.gap_cv == pytest.approx(1.0, abs=0.02)
    assert found.dispersion["1"] == pytest.approx(1.0, abs=0.1)
    assert found.correlation == pytest.approx(0.0, abs=0.02)
    assert found.prompt_tokens.p50 == pytest.approx(50, abs=2)


def test_shared_beginnings_are_counted_once_each() -> None:
    prefixes = Prefixes.of(10, [[1, 2, 3], [1, 2, 4], [5, 2], [1, 2, 3, 6]])
    found = describe(RequestTable(np.zeros(4), np.array([30, 25, 20, 40]), np.ones(4, np.int64), prefixes=prefixes))
    assert found.sharing is not None
    # The second has two of its blocks seen, the third begins otherwise, the fourth has three.
    assert found.sharing.seen_frac == pytest.approx((20 + 30) / 115)
    assert found.sharing.requests_frac == 0.5
    assert found.sharing.num_blocks == 6


def test_chains_labels_and_measurements_are_summed_up() -> None:
    found = describe(
        RequestTable(
            np.arange(4.0), np.arange(1, 5), np.arange(1, 5), labels={"tenant": Labels.of(["b", "a", "a", "a"])},
            after=np.array([-1, 0, -1, 1]), gap_s=np.array([0.0, 2.0, 0.0, 4.0]),
            measured={"ttft_s": np.array([1.0, np.nan, 3.0, np.nan]), "tpot_s": np.full(4, np.nan)},
        )
    )  # fmt: skip
    assert found.chains is not None
    assert found.chains.gap_s is not None
    assert (found.chains.num_chains, found.chains.calls.max, found.chains.gap_s.mean) == (2, 3, 3.0)
    assert found.labels == {"tenant": {"a": 3, "b": 1}}
    assert list(found.measured) == ["ttft_s"]
    assert (found.measured["ttft_s"].num, found.measured["ttft_s"].mean) == (2, 2.0)
    assert found.correlation == pytest.approx(1.0)


def test_one_request_is_described_too() -> None:
    found = describe(RequestTable(np.zeros(1), np.ones(1, np.int64), np.ones(1, np.int64)))
    assert (found.rate_per_s, found.gap_cv, found.correlation, found.dispersion) == (0.0, None, None, {})
    assert spread(np.array([np.nan])) is None
