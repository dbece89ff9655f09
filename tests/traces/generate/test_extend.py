from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.traces.describe import describe
from headway.traces.generate.extend import extend
from headway.traces.spec import TraceSpec
from headway.traces.table import Labels, RequestTable


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_recorded_part_stays_and_the_rest_is_like_it() -> None:
    source = TraceSpec(source="azure-code").draw()
    longer = extend(source, 50_000, rng())
    assert len(longer) == 50_000
    assert np.array_equal(longer.arrival_s[: len(source)], source.arrival_s)
    before, after = describe(source), describe(longer)
    assert after.rate_per_s == pytest.approx(before.rate_per_s, rel=0.15)
    assert after.output_tokens.p90 == pytest.approx(before.output_tokens.p90, rel=0.1)
    assert after.prompt_tokens.mean == pytest.approx(before.prompt_tokens.mean, rel=0.05)
    assert after.gap_cv == pytest.approx(before.gap_cv, rel=0.3)
    assert after.dispersion["10"] == pytest.approx(before.dispersion["10"], rel=0.3)  # bursts stay bursts


def test_lengths_and_labels_of_a_row_stay_together() -> None:
    labels = {"tenant": Labels(np.arange(20) % 2, ("even", "odd"))}
    source = RequestTable(np.arange(20.0), np.arange(1, 21), np.arange(1, 21) * 2, labels=labels)
    longer = extend(source, 500, rng())
    assert np.array_equal(longer.prompt_tokens * 2, longer.output_tokens)
    assert all((longer.label("tenant", row) == "odd") == (longer.prompt_tokens[row] % 2 == 0) for row in range(500))


def test_sessions_and_prefixes_are_repeated_with_blocks_of_their_own() -> None:
    source = TraceSpec(source="agent-sessions").draw()
    num = len(source)
    longer = extend(source, 3 * num, rng())
    assert longer.after is not None
    assert source.after is not None
    assert longer.prefixes is not None
    assert np.array_equal(longer.after[num : 2 * num], np.where(source.after < 0, -1, source.after + num))
    sharing, before = describe(longer).sharing, describe(source).sharing
    assert sharing is not None
    assert before is not None
    assert sharing.seen_frac == pytest.approx(before.seen_frac, abs=0.01)
    first, second = (set(longer.prefixes[row + num * copy].tolist()) for row in (300,) for copy in (0, 1))
    assert len(first & second) == 1  # the block that all begin with
    assert longer.label("session", num) == longer.label("session", 0) + ".1"


def test_fewer_cuts_the_end_off() -> None:
    source = TraceSpec(source="azure-conv").draw()
    assert np.array_equal(extend(source, 10, rng()).arrival_s, source.arrival_s[:10])
    with pytest.raises(ConfigError, match="two requests or more"):
        extend(source.take(np.arange(1)), 10, rng())


def test_a_million_requests_take_well_under_a_second() -> None:
    source = TraceSpec(source="azure-conv").draw()
    start_s = time.process_time()
    assert len(extend(source, 1_000_000, rng())) == 1_000_000
    assert time.process_time() - start_s < 2.0


def test_half_a_trace_becomes_a_whole_one() -> None:
    path = Path(__file__).parents[4] / "shared" / "data" / "llm" / "azure2023_conv.csv.gz"
    if not path.is_file():
        pytest.skip("the data is not here")
    # The whole trace has 19,366 requests and 4.09 M output tokens.
    table = TraceSpec(source=str(path), extend_to=19_366, rate_per_s=6.45).draw()
    assert len(table) == 19_366
    assert table.output_tokens.sum() == pytest.approx(4.09e6, rel=0.07)
    assert table.rate_per_s == pytest.approx(6.45)
