"""The door to all readers: what a file is, and what is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from headway.core.errors import TraceError, unknown_name
from headway.traces.files import kind_of, reading
from headway.traces.readers import (
    clients,
    csv_file,
    json_lines,
    measured,
    parquet,
    session_trace,
    sessions,
    spans,
    workflows,
)  # fmt: skip
from headway.traces.readers.options import Options
from headway.traces.readers.rows import Reading, Rows, judge

HEAD_BYTES = 1 << 18

Read = Callable[[IO[bytes], str, Options], Rows]


@dataclass(frozen=True)
class Format:
    """One format of files.

    Parameters
    ----------
    name : str
        As ``--format`` says it.
    about : str
        What it is, in a few words.
    looks_so : callable
        Says whether a file may be of it, from its beginning.
    read : callable
        Reads one.
    may_jump : bool
        Whether rows lie in an order other than that of arrival, so that they are always sorted.
    is_model : bool
        Whether it describes requests instead of listing them, so that they are drawn by a seed.
    """

    name: str
    about: str
    looks_so: Callable[[bytes], bool]
    read: Read
    may_jump: bool = False
    is_model: bool = False


FORMATS = (
    Format("parquet", "Parquet", parquet.looks_so, parquet.read),
    Format("headway", "a recorded run of Headway", session_trace.looks_so, session_trace.read, may_jump=True),
    Format("otel", "OpenTelemetry spans of model calls", spans.looks_so, spans.read, may_jump=True),
    Format("clients", "ServeGen's models of clients", clients.looks_so, clients.read, is_model=True),
    Format("server-log", "per-request times of a real server", measured.looks_so, measured.read, may_jump=True),
    Format("sessions", "agent sessions with tools in between", sessions.looks_so, sessions.read, may_jump=True),
    Format("workflows", "chains of model calls", workflows.looks_so, workflows.read),
    Format("mooncake", "Mooncake's JSON lines with hashes", json_lines.looks_like_mooncake, json_lines.read_mooncake),
    Format("jsonl", "JSON lines, one request each", json_lines.looks_so, json_lines.read),
    Format("csv", "CSV with a header", csv_file.looks_so, csv_file.read),
)  # fmt: skip
"""All formats, the most particular first: the first that a file looks like is taken."""


def read_requests(
    path: Path | str, *, format: str = "", sort: bool = False, drop_bad: bool = False, options: Options | None = None
) -> Reading:
    """Read recorded requests from a file of any known format, packed by gzip or not.

    Parameters
    ----------
    path : path
        The file.
    format : str
        The name of its format; empty finds out from its content.
    sort : bool
        Whether rows out of order are sorted by arrival instead of refused.
    drop_bad : bool
        Whether rows without sense are left out instead of refused.
    options : Options or None
        What else its reader is told.

    Raises
    ------
    TraceError
        When the file cannot be read, or has a row without sense; says which line.
    UnknownName
        When there is no such format.
    """
    path = Path(path)
    told = replace(options or Options(), drop_bad=drop_bad)
    chosen = find(format) if format else recognise(path)
    with reading(path) as file:
        rows = chosen.read(file, str(path), told)
    return judge(rows, chosen.name, sort=sort or chosen.may_jump, drop_bad=drop_bad)


def find(name: str) -> Format:
    """Return the format of a name."""
    for known in FORMATS:
        if known.name == name:
            return known
    raise unknown_name("trace format", name, [known.name for known in FORMATS])


def recognise(path: Path) -> Format:
    """Find out a file's format from how it begins."""
    with reading(path) as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise TraceError(f"{path}: must hold at least one request, got an empty file. Check the path.")
    for known in FORMATS:
        if known.looks_so(head):
            return known
    raise TraceError(
        f"{path}: must be a readable trace of a known format ({', '.join(known.name for known in FORMATS)}), got "
        f"{head[:40]!r}{' in a .' + kind_of(path) if kind_of(path) else ''}. Say which it is with --format."
    )
