from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.traces.readers.door import read_requests
from headway.traces.spec import TraceSpec
from headway.traces.table import Labels, Prefixes, RequestTable
from headway.traces.writers import write_requests

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=6)
LENGTHS = st.integers(1, 2**40)
SECONDS = st.floats(0, 1e6, allow_nan=False)


@st.composite
def tables(draw: st.DrawFn) -> RequestTable:
    num = draw(st.integers(1, 12))

    def column(values: st.SearchStrategy[float]) -> np.ndarray:
        return np.array(draw(st.lists(values, min_size=num, max_size=num)))

    labels = {name: Labels.of(draw(st.lists(NAMES, min_size=num, max_size=num))) for name in ("tenant", "session")}
    chains = draw(st.lists(st.lists(st.integers(-(2**62), 2**62), max_size=4), min_size=num, max_size=num))
    has_chains = draw(st.booleans())
    after = np.array([draw(st.integers(-1, row - 1)) for row in range(num)])
    is_due = st.one_of(st.floats(1e-3, 1e6), st.just(float("nan")))
    is_known = st.one_of(SECONDS, st.just(float("nan")))
    return RequestTable(
        np.sort(column(SECONDS)),
        column(LENGTHS).astype(np.int64),
        column(LENGTHS).astype(np.int64),
        labels=labels if draw(st.booleans()) else {},
        prefixes=Prefixes.of(draw(st.integers(1, 512)), chains) if has_chains else None,
        after=after if has_chains else None,
        gap_s=column(SECONDS) if has_chains else None,
        joins=column(st.integers(0, 1)) if has_chains else None,
        due_s=np.append(1.0, column(is_due)[1:]) if draw(st.booleans()) else None,  # a column of nothing is not written
        measured={"ttft_s": column(is_known)} if draw(st.booleans()) else {},
    )


def assert_same(read: RequestTable, wrote: RequestTable, *, with_prefixes: bool = True) -> None:
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "after", "gap_s", "joins", "due_s"):
        a, b = getattr(read, name), getattr(wrote, name)
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)), name
    assert set(read.measured) == {
        name for name, values in wrote.measured.items() if with_prefixes is False or _any(values)
    }
    for name, values in read.measured.items():
        np.testing.assert_array_equal(values, wrote.measured[name])
    for name, labels in wrote.labels.items():
        assert [labels[row] for row in range(len(wrote))] == [read.labels[name][row] for row in range(len(wrote))]
    if with_prefixes and wrote.prefixes is not None and len(wrote.prefixes.values):
        assert read.prefixes is not None
        assert read.prefixes.block_tokens == wrote.prefixes.block_tokens
        assert np.array_equal(read.prefixes.values, wrote.prefixes.values)
        assert np.array_equal(read.prefixes.offsets, wrote.prefixes.offsets)


def _any(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any())


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "jsonl.gz"])
@given(table=tables())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_again_exactly(suffix: str, table: RequestTable) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"trace.{suffix}"
        write_requests(table, path)
        assert_same(read_requests(path).table, table, with_prefixes="json" in suffix)


@pytest.mark.parametrize("name", ["azure-conv", "mooncake-conv", "agent-sessions"])
def test_parquet_is_read_again_exactly(name: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table = TraceSpec(source=name).draw()
    write_requests(table, tmp_path / "trace.parquet")
    assert_same(read_requests(tmp_path / "trace.parquet").table, table)


def test_equal_traces_make_equal_packed_files(tmp_path: Path) -> None:
    table = TraceSpec(source="azure-code", max_requests=50).draw()
    write_requests(table, tmp_path / "a.csv.gz")
    write_requests(table, tmp_path / "b.csv.gz")
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_nothing_is_left_half_written(tmp_path: Path) -> None:
    table = TraceSpec(source="azure-conv").draw()
    path = tmp_path / "trace.csv"
    path.write_text("as it was")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_requests(table, path, stop)
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["trace.txt", "trace", "trace.parquet.gz", "none/trace.csv"])
def test_files_that_cannot_be_written_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must (end in|exist)"):
        write_requests(TraceSpec(source="azure-conv", max_requests=2).draw(), tmp_path / name)
