"""The access log and the spans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.server.running import running
from headway.app.server import spans

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "tracer", trace.get_tracer("headway", tracer_provider=provider))
    return exporter


def test_one_line_and_one_span_per_request(model: Path, tmp_path: Path, exported: InMemorySpanExporter) -> None:
    log = tmp_path / "access.jsonl"
    with running(model, access_log=str(log)) as server, httpx.Client(base_url=server.url) as client:
        headers = {"traceparent": PARENT, "x-request-id": "mine"}
        fields: dict[str, Any] = {"prompt": "the cat", "stream": True, "max_tokens": 99, "service_tier": "interactive"}
        client.post("/v1/completions", json=fields, headers=headers)
        client.post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}], "n": 2, "max_tokens": 1}
        )
        client.post("/v1/completions", json={"prompt": "x", "foo": 1})
        client.get("/v1/models")
        client.get("/health")  # a probe: not logged
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("POST /v1/completions", 200), ("POST /v1/chat/completions", 200), ("POST /v1/completions", 400),
        ("GET /v1/models", 200),
    ]  # fmt: skip
    first = lines[0]
    assert (first["id"], first["trace_id"]) == ("mine", PARENT.split("-")[1])
    assert (first["model"], first["slo_class"], first["tenant"]) == ("parrot", "interactive", "default")
    assert (first["prompt_tokens"], first["output_tokens"], first["finish"]) == (2, 3, "stop")
    assert 0 < first["ttft_s"] <= first["e2e_s"]
    assert lines[1]["finish"] == "length,length"
    assert lines[2]["error"] == "Unknown parameter: 'foo'."
    assert "ttft_s" not in lines[3]
    check_spans(exported)


def check_spans(exported: InMemorySpanExporter) -> None:
    text, chat, bad, *_ = exported.get_finished_spans()
    assert text.name == "text_completion parrot"
    assert chat.name == "chat parrot"
    assert text.parent is not None
    assert f"{text.parent.span_id:016x}" == PARENT.split("-")[2]
    assert text.attributes is not None
    expected = {
        "gen_ai.operation.name": "text_completion", "gen_ai.request.model": "parrot", "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 3, "gen_ai.response.finish_reasons": ("stop",),
        "headway.slo_class": "interactive",
    }  # fmt: skip
    assert {key: text.attributes[key] for key in expected} == expected
    assert bad.status.status_code is trace.StatusCode.ERROR
