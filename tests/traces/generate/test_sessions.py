from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import ConfigError, UnknownName
from headway.traces.generate.named_sessions import NAMED_SESSIONS
from headway.traces.generate.sessions import AgentSessions, Tool
from headway.traces.generate.workflows import Stage, Workflows
from headway.traces.spec import TraceSpec


@pytest.mark.parametrize(("name", "turns", "tool_s"), [("swe-bench", 10.9, 0.925), ("bfcl-web", 6.3, 1.923)])
def test_named_agents_have_the_published_means(name: str, turns: float, tool_s: float) -> None:
    table = TraceSpec(sessions=name, num_sessions=2000, rate_per_s=1.0).draw(0)
    assert table.after is not None
    assert table.gap_s is not None
    follows = table.after >= 0
    assert len(table) / 2000 == pytest.approx(turns, rel=0.05)
    assert table.gap_s[follows].mean() == pytest.approx(tool_s, rel=0.1)


def test_a_prompt_is_all_that_came_before_and_begins_alike() -> None:
    made = AgentSessions(num_sessions=3, mean_turns=4, turns_cv=0, system_tokens=64, block_tokens=16)
    table = made.draw(np.random.default_rng(1))
    assert table.after is not None
    assert table.prefixes is not None
    follows = np.flatnonzero(table.after >= 0)
    assert len(follows) == 3 * 3
    for row in follows.tolist():
        before = int(table.after[row])
        assert table.prompt_tokens[row] > table.prompt_tokens[before] + table.output_tokens[before]
        chain, earlier = table.prefixes[row], table.prefixes[before]
        assert len(chain) == table.prompt_tokens[row] // 16
        assert chain[: len(earlier)].tolist() == earlier.tolist()
    roots = np.flatnonzero(table.after < 0)
    shared = [set(table.prefixes[int(root)].tolist()) for root in roots]
    assert set.intersection(*shared) == {0, 1, 2, 3}


def test_the_last_call_of_a_session_calls_no_tool() -> None:
    tools = {"fast": Tool(mean_s=0.1), "slow": Tool(mean_s=10.0, cv=0.0)}
    table = AgentSessions(num_sessions=50, tools=tools).draw(np.random.default_rng(2))
    assert table.after is not None
    assert table.gap_s is not None
    leads = set(table.after[table.after >= 0].tolist())
    for row in range(len(table)):
        assert (table.labels["tool"][row] != "") == (row in leads)
    after_slow = [row for row in range(len(table)) if table.after[row] >= 0]
    for row in after_slow:
        if table.labels["tool"][int(table.after[row])] == "slow":
            assert table.gap_s[row] == pytest.approx(10.0)


def test_a_session_ends_where_its_prompt_would_be_too_long() -> None:
    table = AgentSessions(num_sessions=20, mean_turns=50, max_prompt_tokens=4000).draw(np.random.default_rng(3))
    assert table.prompt_tokens[table.after >= 0].max() <= 4000  # type: ignore[operator]


def test_stages_fork_and_join() -> None:
    stages = (
        Stage(name="plan", prompt_tokens=100, output_tokens=10),
        Stage(name="try", prompt_tokens=200, output_tokens=20, least=3, most=3, parallel=True),
        Stage(name="mend", prompt_tokens=300, output_tokens=30, least=2, most=2),
        Stage(name="judge", prompt_tokens=400, output_tokens=40, least=2, most=2, parallel=True),
    )
    table = Workflows(stages=stages, num_sessions=2).draw(np.random.default_rng(4))
    assert table.after is not None
    assert table.joins is not None
    assert table.after.tolist() == [-1, 0, 0, 0, 3, 4, 5, 5, -1, 8, 8, 8, 11, 12, 13, 13]
    assert table.joins.tolist() == [0, 0, 0, 0, 1, 0, 0, 0] * 2
    assert [table.labels["tool"][row] for row in range(8)] == ["workflow"] * 6 + ["", ""]
    assert [table.labels["stage"][row] for row in range(8)] == ["plan"] + ["try"] * 3 + ["mend"] * 2 + ["judge"] * 2


def test_numbers_of_calls_have_the_wanted_mean() -> None:
    stage = Stage(name="revise", prompt_tokens=100, output_tokens=10, least=0, most=9, mean=3.7)
    assert stage.chances @ np.arange(10) == pytest.approx(3.7)
    assert (np.diff(stage.chances) < 0).all()
    assert Stage(name="x", prompt_tokens=1, output_tokens=1).chances.tolist() == [1.0]


@pytest.mark.parametrize(("name", "calls"), [("text2sql-1", 19.2), ("text2sql-2", 20.7), ("text2sql-3", 20.9)])
def test_text_to_sql_has_the_published_number_of_calls(name: str, calls: float) -> None:
    table = TraceSpec(sessions=name, num_sessions=1000, rate_per_s=1.0, due_s=60.0).draw(0)
    assert len(table) / 1000 == pytest.approx(calls, rel=0.05)
    assert table.due_s is not None
    assert set(table.due_s.tolist()) == {60.0}


def test_chains_arrive_by_the_rate_of_chains() -> None:
    table = TraceSpec(sessions="bfcl-web", num_sessions=500, rate_per_s=2.0).draw(0)
    assert table.after is not None
    starts = table.arrival_s[table.after < 0]
    assert 500 / starts[-1] == pytest.approx(2.0, rel=0.15)
    assert (
        TraceSpec(sessions="bfcl-web", num_sessions=5, rate_per_s=2.0).draw(1).prompt_tokens[0]
        != (table.prompt_tokens[0])
    )


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UnknownName, match="swe-bench"):
        TraceSpec(sessions="swe-bensh").draw(0)
    with pytest.raises(ConfigError, match="must stand beside sessions"):
        TraceSpec(lengths="sharegpt", num_sessions=3)
    with pytest.raises(ConfigError, match="got both"):
        TraceSpec(lengths="sharegpt", sessions="swe-bench")
    with pytest.raises(ConfigError, match="wait for each"):
        Workflows(stages=(Stage(name="x", prompt_tokens=1, output_tokens=1, most=2, parallel=True),))
    with pytest.raises(ConfigError, match="between least and most"):
        Stage(name="x", prompt_tokens=1, output_tokens=1, mean=3.0)
    with pytest.raises(ConfigError, match="must have a tool"):
        AgentSessions(tools={})
    with pytest.raises(ConfigError, match="share and mean_s"):
        Tool(mean_s=0.0)
    assert len(NAMED_SESSIONS) == 5
