from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import ConfigError, UnknownName
from headway.traces import reshape
from headway.traces.generate.arrivals import Constant, Poisson
from headway.traces.spec import TraceSpec
from headway.traces.table import Labels, Prefixes, RequestTable


def table(num: int = 10) -> RequestTable:
    return RequestTable(
        np.arange(float(num)),
        np.arange(1, num + 1) * 10,
        np.full(num, 5),
        labels={"tenant": Labels(np.arange(num) % 2, ("a", "b"))},
        prefixes=Prefixes.of(16, [list(range((row + 1) * 10 // 16)) for row in range(num)]),
        measured={"ttft_s": np.ones(num)},
        source="test",
    )


def test_a_span_counts_from_its_start_and_is_half_open() -> None:
    part = reshape.between(table(), 2.0, 5.0)
    assert part.arrival_s.tolist() == [0.0, 1.0, 2.0]
    assert part.prompt_tokens.tolist() == [30, 40, 50]
    with pytest.raises(ConfigError, match=r"must leave a request, got \[20, 30\) of a trace from 0 to 9"):
        reshape.between(table(), 20.0, 30.0)


def test_those_with_a_label_keep_their_times() -> None:
    part = reshape.with_label(table(), "tenant", "b")
    assert part.arrival_s.tolist() == [1.0, 3.0, 5.0, 7.0, 9.0]
    with pytest.raises(UnknownName, match="tenant"):
        reshape.with_label(table(), "tenants", "b")
    with pytest.raises(UnknownName, match="Nearest: a, b"):
        reshape.with_label(table(), "tenant", "c")


def test_speed_changes_times_and_nothing_else() -> None:
    fast = reshape.at_rate(table(), 4.0)
    assert fast.rate_per_s == pytest.approx(4.0)
    assert np.array_equal(fast.prompt_tokens, table().prompt_tokens)
    assert reshape.faster(table(), 2.0).arrival_s[-1] == 4.5
    with pytest.raises(ConfigError, match="must be > 0, got 0"):
        reshape.faster(table(), 0.0)
    with pytest.raises(ConfigError, match="must span some time"):
        reshape.at_rate(reshape.head(table(), 1), 1.0)


def test_pauses_do_not_shrink_with_the_times() -> None:
    sessions = TraceSpec(source="agent-sessions").draw()
    fast = reshape.faster(sessions, 10.0)
    assert sessions.gap_s is not None
    assert fast.gap_s is not None
    assert np.array_equal(fast.gap_s, sessions.gap_s)


def test_shorter_prompts_have_shorter_chains_and_no_measurement() -> None:
    short = reshape.shortened(table(), max_prompt_tokens=40)
    assert short.prefixes is not None
    assert [len(short.prefixes[row]) for row in range(10)] == [0, 1, 1, 2, 3, 3, 3, 3, 3, 3]
    assert short.prefixes[9].tolist() == [0, 1, 2]
    assert np.isnan(short.measured["ttft_s"]).tolist() == [False] * 4 + [True] * 6
    assert reshape.shortened(table(), max_prompt_tokens=1000).measured["ttft_s"].tolist() == [1.0] * 10
    with pytest.raises(ConfigError, match="max_tokens must be >= 2"):
        reshape.shortened(table(), max_tokens=1)


def test_longer_requests_lose_their_hashes() -> None:
    longer = reshape.lengthened(table(), 1.5)
    assert longer.prompt_tokens.tolist() == [15, 30, 45, 60, 75, 90, 105, 120, 135, 150]
    assert longer.prefixes is None
    assert reshape.lengthened(table(), 1.0).prefixes is not None
    assert reshape.lengthened(table(), 0.001).prompt_tokens.tolist() == [1] * 10


def test_chains_arrive_as_one_and_keep_their_own_distances() -> None:
    after = np.array([-1, -1, 0, 1, 2])
    arrival_s = np.array([0.0, 0.0, 1.0, 5.0, 9.0])
    lengths = np.arange(1, 6)
    chains = RequestTable(arrival_s, lengths, lengths, after=after, gap_s=np.zeros(5), source="test")
    moved = reshape.arriving(chains, Constant(rate_per_s=0.5), np.random.default_rng(0))
    # The chain 1, 3, 5 begins at 0 and the chain 2, 4 at 2; the second's call at 7 now comes before the first's at 9.
    assert moved.arrival_s.tolist() == [0.0, 1.0, 2.0, 7.0, 9.0]
    assert moved.prompt_tokens.tolist() == [1, 3, 2, 4, 5]
    assert moved.after is not None
    assert moved.after.tolist() == [-1, 0, -1, 2, 1]


def test_as_many_chains_arrive_per_second_as_asked_for() -> None:
    spec = TraceSpec(source="agent-sessions", arrivals=Poisson(rate_per_s=10.0))
    drawn = spec.draw(1)
    assert drawn.after is not None
    starts = drawn.arrival_s[drawn.after < 0]
    assert len(starts) == 40
    assert starts[-1] == pytest.approx(4.0, rel=0.5)


def test_a_window_that_is_too_long_is_the_whole() -> None:
    assert reshape.window(table(), 100, np.random.default_rng(0)) is not None
    assert len(reshape.window(table(), 100, np.random.default_rng(0))) == 10
    assert len(reshape.head(table(), 100)) == 10
