"""OpenTelemetry spans of model calls, with the attributes of its conventions for generative AI."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO, Any

import numpy as np

from headway.core.errors import TraceError
from headway.traces.readers.gather import Gather
from headway.traces.readers.options import Options
from headway.traces.readers.rows import Rows

PROMPT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
LABELS = {
    "model": ("gen_ai.request.model", "gen_ai.response.model"),
    "session": ("gen_ai.conversation.id", "session.id"),
    "tenant": ("headway.tenant", "user.id", "enduser.id"),
    "slo_class": ("headway.slo_class",),
}
TTFT = ("gen_ai.server.time_to_first_token", "gen_ai.response.time_to_first_chunk")


def looks_so(head: bytes) -> bool:
    """Say whether a file that begins so holds spans: an export by OTLP, or the printed objects of an SDK."""
    start = head[:4096]
    return start.lstrip()[:1] in (b"{", b"[") and (b'"resourceSpans"' in start or b'"trace_id"' in start)


def read(file: IO[bytes], where: str, options: Options) -> Rows:
    """Read spans that say how many tokens went in and came out; others are passed over.

    Notes
    -----
    Read are OTLP's JSON (one export, or one per line, as collectors write files) and the objects that Python's SDK
    prints. A span's start is the arrival, its length `e2e_s`; `ttft_s` is read where a server wrote it.
    """
    chunk: dict[str, list[Any]] = {name: [] for name in ("ns", "prompt_tokens", "output_tokens", "e2e_s", "ttft_s")}
    chunk |= {name: [] for name in LABELS}
    for span in _spans(file, where):
        _add(chunk, span)
    start_ns = np.array(chunk.pop("ns"), np.int64)
    chunk["arrival_s"] = ((start_ns - start_ns.min(initial=np.iinfo(np.int64).max)) / 1e9).tolist()
    gather = Gather(where, drop_bad=options.drop_bad)
    optional = ("ttft_s", *LABELS)
    known = {name: values for name, values in chunk.items() if name not in optional or set(values) - {None}}
    gather.add(known, np.arange(1, len(start_ns) + 1))
    return gather.rows()


def _add(chunk: dict[str, list[Any]], span: Mapping[str, Any]) -> None:
    attributes = _attributes(span.get("attributes") or {})
    prompt, output = _first(attributes, PROMPT), _first(attributes, OUTPUT)
    if prompt is None or output is None:
        return
    start_ns = _nanoseconds(span, "startTimeUnixNano", "start_time")
    chunk["ns"].append(start_ns)
    chunk["prompt_tokens"].append(prompt)
    chunk["output_tokens"].append(output)
    chunk["e2e_s"].append((_nanoseconds(span, "endTimeUnixNano", "end_time") - start_ns) / 1e9)
    chunk["ttft_s"].append(_first(attributes, TTFT))
    for label, names in LABELS.items():
        chunk[label].append(_first(attributes, names))


def _spans(file: IO[bytes], where: str) -> Iterator[Mapping[str, Any]]:
    for document in _documents(file.read().decode("utf-8"), where):
        for found in document if isinstance(document, list) else [document]:
            if not isinstance(found, dict):
                raise TraceError(f"{where}: must hold objects, got {str(found)[:40]!r}. Is it an export of spans?")
            if "resourceSpans" in found:
                yield from _exported(found)
            else:
                yield found


def _documents(text: str, where: str) -> Iterator[Any]:
    """Yield JSON values that follow each other, on one line each or on many."""
    decoder, at = json.JSONDecoder(), 0
    while (at := _next(text, at)) < len(text):
        try:
            document, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise TraceError(f"{where}, line {error.lineno}: must be JSON, got: {error.msg}. Is it cut off?") from error
        yield document


def _next(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at


def _exported(export: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for resource in export.get("resourceSpans") or ():
        for scope in resource.get("scopeSpans") or ():
            yield from scope.get("spans") or ()


def _attributes(found: Any) -> dict[str, Any]:
    if isinstance(found, dict):  # as an SDK prints them
        return found
    return {entry["key"]: next(iter((entry.get("value") or {}).values()), None) for entry in found if "key" in entry}


def _first(attributes: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) is not None), None)


def _nanoseconds(span: Mapping[str, Any], otlp: str, sdk: str) -> int:
    try:
        if otlp in span:
            return int(span[otlp])
        moment = datetime.fromisoformat(str(span[sdk]))
    except (KeyError, ValueError) as error:
        raise TraceError(f"span {span.get('name', '')!r}: must have {otlp} or {sdk}, got {error}.") from error
    return round(moment.timestamp() * 1e6) * 1000
