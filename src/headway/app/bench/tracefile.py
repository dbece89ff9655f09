"""Recorded requests to be sent to a server."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from headway.traces import shipped
from headway.traces.readers.door import read_requests


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
        A file of any format that `headway trace` reads, or the name of a shipped trace.
    limit : int or None
        How many, >= 1.

    Raises
    ------
    TraceError
        When the file cannot be read, or a row lacks what it needs.
    """
    name = str(path)
    reading = read_requests(shipped.path(name) if name in shipped.names() else path, sort=True)
    table = reading.table
    times = (table.arrival_s - table.arrival_s[0]).tolist()
    pairs = zip(times, table.prompt_tokens.tolist(), table.output_tokens.tolist(), strict=True)
    return [
        TraceRow(
            at_s=at_s if reading.is_timed else None,
            input_tokens=prompt,
            output_tokens=output,
            blocks=() if table.prefixes is None else tuple(table.prefixes[row].tolist()),
        )
        for row, (at_s, prompt, output) in zip(range(limit or len(table)), pairs, strict=False)
    ]
