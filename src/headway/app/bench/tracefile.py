"""Read recorded requests: CSV or JSON lines, plain or gzipped, under the column names that public traces use."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec
from msgspec import Struct

from headway.core.errors import TraceError

_TIME = ("arrival_s", "arrived_at", "timestamp")
_INPUT = ("input_tokens", "contexttokens", "input_length", "prompt_tokens", "num_prefill_tokens", "request tokens")
_OUTPUT = (
    "output_tokens", "generatedtokens", "output_length", "completion_tokens", "num_decode_tokens", "response tokens",
)  # fmt: skip


class TraceRow(Struct, frozen=True, kw_only=True):
    """One recorded request.

    Parameters
    ----------
    at_s : float or None
        When it arrived, in seconds since the first one; None in a file of lengths without times.
    input_tokens, output_tokens : int
        Its lengths, >= 1.
    blocks : tuple of int
        Ids of its prompt's prefix blocks where the trace has them: equal ids mean equal text.
    """

    at_s: float | None
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


def read_trace(path: Path, limit: int | None = None) -> list[TraceRow]:
    """Read the first `limit` requests of a trace (all by default), in order of arrival.

    Parameters
    ----------
    path : Path
        ``.csv`` or ``.jsonl``, each also with ``.gz``. Times are seconds in ``arrival_s``, ``arrived_at`` and a numeric
        ``timestamp`` of a CSV, milliseconds in a ``timestamp`` of JSON lines, or dates (``2023-11-16 18:17:03.98``).
    limit : int or None
        How many, >= 1.

    Raises
    ------
    TraceError
        When the file cannot be read, or a row lacks what it needs.
    """
    try:
        with _open(path) as file:
            rows = list(_rows(path, file))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TraceError(f"trace {path}: must be a readable CSV or JSON lines file, {error}.") from error
    if not rows:
        raise TraceError(f"trace {path}: must hold at least one request, found none. Check the file.")
    return _from_zero(rows)[:limit]


def _open(path: Path) -> TextIO:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _rows(path: Path, file: TextIO) -> Iterator[TraceRow]:
    is_json = path.name.removesuffix(".gz").endswith((".jsonl", ".json"))
    records: Iterable[Mapping[str, Any]] = _json_records(path, file) if is_json else csv.DictReader(file)
    seconds = _json_seconds if is_json else _csv_seconds
    for number, record in enumerate(records, start=1):
        try:
            yield _row({str(key).strip().lower(): value for key, value in record.items()}, seconds)
        except (KeyError, ValueError, TypeError) as error:
            raise TraceError(
                f"trace {path}, request {number}: needs input and output lengths (columns such as input_tokens and "
                f"output_tokens), got {error}. Columns found: {', '.join(map(str, record))}."
            ) from error


def _json_records(path: Path, file: TextIO) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                yield msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise TraceError(f"trace {path}, line {number}: must be one JSON object, {error}.") from error


def _row(record: Mapping[str, Any], seconds: Callable[[str, Any], float]) -> TraceRow:
    time = next((name for name in _TIME if name in record), None)
    return TraceRow(
        at_s=None if time is None else seconds(time, record[time]),
        input_tokens=max(1, int(float(_first(record, _INPUT)))),
        output_tokens=max(1, int(float(_first(record, _OUTPUT)))),
        blocks=tuple(record.get("hash_ids") or ()),
    )


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if name in record:
            return record[name]
    raise KeyError(f"no column {names[0]}")


def _json_seconds(column: str, value: Any) -> float:
    return float(value) / 1000 if column == "timestamp" else float(value)


def _csv_seconds(_column: str, value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        # Some traces write seven digits of a second; a date here has six at most.
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(value).strip())).timestamp()


def _from_zero(rows: list[TraceRow]) -> list[TraceRow]:
    if any(row.at_s is None for row in rows):
        return rows
    ordered = sorted(rows, key=lambda row: row.at_s or 0.0)
    start_s = ordered[0].at_s or 0.0
    return [msgspec.structs.replace(row, at_s=(row.at_s or 0.0) - start_s) for row in ordered]
