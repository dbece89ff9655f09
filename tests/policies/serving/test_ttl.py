from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headway.policies.serving.ttl import Progress, ToolTimes


def learnt(times: list[float], tool: str = "grep", min_samples: int = 0, max_samples: int = 1000) -> ToolTimes:
    tools = ToolTimes(min_samples, max_samples)
    for time_s in times:
        tools.learn(tool, time_s)
    return tools


def test_the_time_to_live_is_the_best_of_what_was_seen() -> None:
    tools = learnt([4.0, 0.5, 1.0, 0.5])
    # Scores with a benefit of 2 s: 0.5 s keeps half of them, 1.0 - 0.5; 1 s three quarters, 1.5 - 1; 4 s all, 2 - 4.
    assert tools.ttl_s("grep", 2.1) == 1.0
    assert tools.ttl_s("grep", 1.9) == 0.5
    assert tools.ttl_s("grep", 0.9) == 0.0
    assert tools.ttl_s("grep", 100.0) == 4.0


def test_a_tool_speaks_for_itself_when_it_was_seen_often_enough() -> None:
    tools = learnt([1.0] * 3, "slow", min_samples=2)
    tools.learn("fast", 0.1)
    assert tools.ttl_s("slow", 10.0) == 1.0
    assert tools.ttl_s("fast", 1.2) == 0.1  # by all tools: a quarter within 0.1 s, all within 1 s
    assert tools.ttl_s("unheard", 10.0) == 1.0


def test_before_there_are_samples_tools_are_taken_to_be_exponential() -> None:
    tools = learnt([1.0] * 100, min_samples=100)
    assert tools.ttl_s("grep", math.e) == pytest.approx(1.0)
    assert tools.ttl_s("grep", 0.5) == 0.0
    assert tools.ttl_s("grep", -1.0) == 0.0
    assert tools.ttl_s("grep", 0.5, default_s=2.0) == 2.0
    tools.learn("grep", 1.0)
    assert tools.ttl_s("grep", math.e) == 1.0
    assert tools.ttl_s("grep", math.e, default_s=2.0) == 1.0


def test_old_samples_are_forgotten() -> None:
    tools = learnt([9.0, 9.0, 1.0, 2.0, 3.0], max_samples=3)
    assert tools.ttl_s("grep", 1000.0) == 3.0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.floats(0, 300))
@example([0.0, 2.0], 3.0)
def test_nothing_is_better_than_what_is_chosen(times: list[float], benefit_s: float) -> None:
    chosen = learnt(times).ttl_s("grep", benefit_s)

    def score(ttl_s: float) -> float:
        return sum(time_s <= ttl_s for time_s in times) / len(times) * benefit_s - ttl_s if ttl_s else 0.0

    assert score(chosen) == pytest.approx(max([0.0, *map(score, times)]))


def test_equal_programs_tell_what_is_left_and_memoryless_ones_do_not() -> None:
    equal, memoryless = Progress(10_000), Progress(10_000)
    for turns in np.random.default_rng(0).geometric(0.1, 5000).tolist():
        equal.learn(10)
        memoryless.learn(turns)
    assert Progress(5).eta == 1.0
    assert equal.eta == pytest.approx(1.0)
    assert abs(memoryless.eta) < 0.05


@given(st.lists(st.integers(1, 30), min_size=2, max_size=40), st.integers(1, 50))
def test_eta_is_minus_the_correlation(turns: list[int], most: int) -> None:
    progress = Progress(most)
    for num in turns:
        progress.learn(num)
    pairs = [(k, num - k) for num in turns[-most:] for k in range(1, num + 1)]
    done, left = np.array(pairs, float).T
    if done.std() > 0 and left.std() > 0:
        assert progress.eta == pytest.approx(-np.corrcoef(done, left)[0, 1], abs=1e-6)
    else:
        assert progress.eta == 1.0
