"""The shipped traces look like the data whose statistics they were drawn from, where that data is at hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from headway.traces import shipped
from headway.traces.describe import describe
from headway.traces.readers.door import read_requests
from headway.traces.spec import TraceSpec
from headway.traces.table import RequestTable

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
RECORDED = {
    "azure-code": "llm/azure2023_code.csv.gz",
    "azure-conv": "llm/azure2023_conv.csv.gz",
    "mooncake-conv": "llm/mooncake_conversation.jsonl.gz",
    "sharegpt": "llm/lengths_sharegpt.csv.gz",
    "arxiv-summarization": "llm/lengths_arxiv_summarization.csv.gz",
    "agent-sessions": "agent/lmcache_miniswe.jsonl.gz",
}


def both(name: str) -> tuple[RequestTable, RequestTable]:
    path = DATA / RECORDED[name]
    if not path.is_file():
        pytest.skip("the data is not here")
    return TraceSpec(source=name).draw(), read_requests(path).table


def tool() -> ModuleType:
    path = ROOT / "tools" / "make_traces.py"
    if not path.is_file():
        pytest.skip("needs a source checkout")
    spec = importlib.util.spec_from_file_location("make_traces", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_shipped_traces_are_compared() -> None:
    assert set(shipped.names()) == set(RECORDED)


@pytest.mark.parametrize("name", [name for name in RECORDED if name != "agent-sessions"])
def test_lengths_are_within_a_tenth(name: str) -> None:
    made, recorded = both(name)
    for column in ("prompt_tokens", "output_tokens"):
        for level in (0.25, 0.5, 0.75, 0.9):
            a, b = (np.quantile(getattr(table, column), level) for table in (made, recorded))
            assert a == pytest.approx(b, rel=0.1, abs=2)


def test_sessions_are_alike_within_a_fifth() -> None:
    made, recorded = (describe(table) for table in both("agent-sessions"))
    assert made.chains is not None
    assert recorded.chains is not None
    assert made.sharing is not None
    assert recorded.sharing is not None
    assert made.chains.calls.mean == pytest.approx(recorded.chains.calls.mean, rel=0.2)
    assert made.prompt_tokens.p50 == pytest.approx(recorded.prompt_tokens.p50, rel=0.2)
    assert made.output_tokens.p50 == pytest.approx(recorded.output_tokens.p50, rel=0.1)
    assert made.sharing.seen_frac == pytest.approx(recorded.sharing.seen_frac, abs=0.05)


@pytest.mark.parametrize("name", ["azure-code", "azure-conv", "mooncake-conv"])
def test_rates_are_those_of_the_data(name: str) -> None:
    made, recorded = both(name)
    assert made.rate_per_s == pytest.approx(recorded.rate_per_s, rel=0.01)


def test_storms_are_storms_and_steady_is_steady() -> None:
    code, conv = (describe(TraceSpec(source=name).draw()) for name in ("azure-code", "azure-conv"))
    assert code.gap_cv is not None
    assert conv.gap_cv is not None
    assert code.gap_cv > 5
    assert conv.gap_cv == pytest.approx(1.0, abs=0.15)
    assert code.dispersion["60"] > 5 * conv.dispersion["60"]


def test_as_much_of_the_prompts_was_seen_before() -> None:
    made, recorded = (describe(table) for table in both("mooncake-conv"))
    assert made.sharing is not None
    assert recorded.sharing is not None
    assert made.sharing.seen_frac == pytest.approx(recorded.sharing.seen_frac, rel=0.15)


@pytest.mark.parametrize("name", ["agent-sessions", "azure-code"])
def test_the_tool_makes_the_same_again(name: str, tmp_path: Path) -> None:
    from headway.traces.writers import write_requests

    made = tool().draw(name, tool().read_statistics()[name]["numbers"])
    file = shipped.catalogue()[name].file
    write_requests(made, tmp_path / file)
    again, there = read_requests(tmp_path / file).table, read_requests(shipped.path(name)).table
    np.testing.assert_array_equal(again.arrival_s, there.arrival_s)
    np.testing.assert_array_equal(again.prompt_tokens, there.prompt_tokens)
