"""What servers export: spans, recorded runs, Parquet."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.core.errors import MissingExtra, TraceError
from headway.core.trace import FileTrace, TraceHeader
from headway.policies.serving.nouns import Request, RequestArrived, RequestFinished, StepDone
from headway.traces.readers.door import read_requests
from headway.traces.readers.options import Options

START_NS = 1_709_287_200_000_000_000


def otlp(start_s: float, attributes: dict[str, Any]) -> dict[str, Any]:
    kinds = {int: "intValue", float: "doubleValue", str: "stringValue"}
    values = [
        {"key": key, "value": {kinds[type(value)]: str(value) if isinstance(value, int) else value}}
        for key, value in attributes.items()
    ]
    start_ns = START_NS + round(start_s * 1e9)
    span = {
        "name": "chat m", "startTimeUnixNano": str(start_ns), "endTimeUnixNano": str(start_ns + 2_000_000_000),
        "attributes": values,
    }  # fmt: skip
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [span]}]}]}


def usage(prompt: int, output: int, **more: Any) -> dict[str, Any]:
    return {
        "gen_ai.usage.input_tokens": prompt, "gen_ai.usage.output_tokens": output, "gen_ai.request.model": "m", **more
    }  # fmt: skip


def test_spans_of_an_otlp_export_are_read_in_order_of_their_starts(tmp_path: Path) -> None:
    exports = [
        otlp(1.5, usage(20, 2, **{"gen_ai.server.time_to_first_token": 0.25, "headway.tenant": "ann"})),
        otlp(9.0, {"http.request.method": "GET"}),
        otlp(0.0, usage(10, 1)),
    ]
    path = tmp_path / "spans.jsonl"
    path.write_text("".join(json.dumps(export) + "\n" for export in exports))
    reading = read_requests(path)
    table = reading.table
    assert reading.format == "otel"
    assert table.arrival_s.tolist() == pytest.approx([0.0, 1.5])
    assert table.prompt_tokens.tolist() == [10, 20]
    assert table.measured["e2e_s"].tolist() == pytest.approx([2.0, 2.0])
    assert table.measured["ttft_s"].tolist() == pytest.approx([np.nan, 0.25], nan_ok=True)
    assert table.label("model", 0) == "m"
    assert [table.label("tenant", row) for row in (0, 1)] == ["", "ann"]


def test_spans_as_the_sdk_prints_them_are_read(tmp_path: Path) -> None:
    spans = [
        {
            "name": "chat m",
            "context": {"trace_id": "0x1"},
            "start_time": f"2024-03-01T10:00:0{n}.250000Z",
            "end_time": f"2024-03-01T10:00:0{n}.750000Z",
            "attributes": usage(5 + n, 3),
        }
        for n in range(3)
    ]
    path = tmp_path / "console.json"
    path.write_text("\n".join(json.dumps(span, indent=4) for span in spans))
    table = read_requests(path).table
    assert table.arrival_s.tolist() == pytest.approx([0.0, 1.0, 2.0])
    assert table.measured["e2e_s"].tolist() == pytest.approx([0.5] * 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (json.dumps(otlp(0.0, {})) + "\n", "at least one request"),
        (json.dumps(otlp(0.0, {})) + '\n{"resource', "line 2: must be JSON.*cut off"),
        (json.dumps({"trace_id": 1, "attributes": usage(1, 1)}), "must have startTimeUnixNano or start_time"),
        (json.dumps(otlp(0.0, usage(1, 0))), "output_tokens must be a whole number >= 1"),
    ],
)
def test_bad_exports_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "spans.json"
    path.write_text(text)
    with pytest.raises(TraceError, match=says):
        read_requests(path)


def finished(id: str, at_s: float, e2e_s: float, output: int = 4, reason: str = "stop") -> RequestFinished:
    return RequestFinished(
        at_s=at_s, id=id, reason=reason, output_tokens=output, queue_s=0.1, ttft_s=0.5, tpot_s=0.2, e2e_s=e2e_s
    )


def request(id: str, arrival_s: float, prompt: int, **more: Any) -> RequestArrived:
    work = Request(id=id, arrival_s=arrival_s, prompt_tokens=prompt, max_tokens=64, **more)
    return RequestArrived(at_s=arrival_s, work=work)


def recording(path: Path) -> Path:
    with FileTrace(path, TraceHeader(family="serving", policy="serving/sarathi")) as trace:
        trace.write(request("a", 0.0, 40, hashes=(2**63 + 5, 7), tenant="ann"))
        trace.write(request("b", 0.5, 33, hashes=(2**63 + 5, 9), slo_class="batch"))
        trace.write(StepDone(at_s=0.6, instance="0", step_s=0.1, num_tokens=73))
        trace.write(finished("a", 2.0, 2.0))
        trace.write(request("c", 3.0, 10, after=("a",)))
        trace.write(request("lost", 3.5, 10))
        trace.write(finished("b", 4.0, 3.5, output=1))
        trace.write(finished("c", 5.0, 2.0))
        trace.write(finished("lost", 5.0, 1.5, reason="cancelled"))
    return path


def test_a_recorded_run_becomes_a_trace_with_what_was_measured(tmp_path: Path) -> None:
    reading = read_requests(recording(tmp_path / "run.jsonl"))
    table = reading.table
    assert (reading.format, reading.num_left_out) == ("headway", 1)
    assert table.arrival_s.tolist() == [0.0, 0.5, 3.0]
    assert table.output_tokens.tolist() == [4, 1, 4]
    assert table.measured["e2e_s"].tolist() == [2.0, 3.5, 2.0]
    assert table.measured["tpot_s"].tolist() == pytest.approx([0.2, np.nan, 0.2], nan_ok=True)
    assert table.after is not None
    assert table.gap_s is not None
    assert table.after.tolist() == [-1, -1, 0]
    assert table.gap_s.tolist() == [0.0, 0.0, 1.0]
    assert table.prefixes is not None
    assert table.prefixes.block_tokens == 16
    assert table.prefixes[0][0] == table.prefixes[1][0] != table.prefixes[1][1]
    assert table.label("slo_class", 1) == "batch"


def test_a_recording_cut_off_by_a_killed_process_is_read_up_to_there(tmp_path: Path) -> None:
    path = recording(tmp_path / "run.jsonl")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b'"id":"c"') + 3])
    assert len(read_requests(path).table) == 1
    lines = content.splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"type":"RequestArrived","work":3}\n')
    with pytest.raises(TraceError, match="line 2: must be an event or action"):
        read_requests(path)


def test_parquet_is_read_with_its_times_and_lists(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "trace.parquet"
    columns = {
        "timestamp": arrow.array([START_NS, START_NS + 250_000_000], arrow.timestamp("ns")),
        "input_tokens": arrow.array([10, 20], arrow.int32()),
        "output_tokens": arrow.array([1, 2], arrow.int16()),
        "user": arrow.array(["ann", None]),
        "hash_ids": arrow.array([[1, 2], [1, 3]]),
        "unused": arrow.array([{"deep": 1}, {"deep": 2}]),
    }
    parquet.write_table(arrow.table(columns), path)
    table = read_requests(path).table
    assert table.arrival_s.tolist() == pytest.approx([0.0, 0.25])
    assert table.output_tokens.tolist() == [1, 2]
    assert [table.label("tenant", row) for row in (0, 1)] == ["ann", ""]
    assert table.prefixes is not None
    assert table.prefixes[1].tolist() == [1, 3]
    renamed = Options(columns={"prompt_tokens": "output_tokens", "output_tokens": "input_tokens"})
    assert read_requests(path, options=renamed).table.prompt_tokens.tolist() == [1, 2]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(TraceError, match="whole Parquet file"):
        read_requests(path)


def test_parquet_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace.parquet"
    path.write_bytes(b"PAR1 and so on")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"headway\[plan\]"):
        read_requests(path)
