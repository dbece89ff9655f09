"""Logs of real servers: per request, when it was queued, scheduled, answered first and answered last."""

from __future__ import annotations

from typing import IO, Any

import numpy as np

from headway.core.errors import TraceError
from headway.traces.readers.gather import HashColumn
from headway.traces.readers.json_lines import Records, first_record, records
from headway.traces.readers.options import Options
from headway.traces.readers.rows import Rows, lengths_of
from headway.traces.table import Floats, Ints

BLOCK_TOKENS = 16
WANTED = ("arrival_s", "scheduled_s", "first_token_s", "last_token_s", "input_tokens", "output_tokens")


def looks_so(head: bytes) -> bool:
    """Say whether the first line has the times of a server's log."""
    return {"scheduled_s", "first_token_s", "last_token_s"} <= set(first_record(head))


def read(file: IO[bytes], where: str, options: Options) -> Rows:
    """Read a log of JSON lines with ``arrival_s``, ``scheduled_s``, ``first_token_s`` and ``last_token_s``.

    Notes
    -----
    A request counts as arrived when the server's front end had it (``arrival_s``), not when the engine's loop took it
    up (``queued_s``): what lies between is the rest of the step that was running, which its sender waits for and a
    virtual server makes it wait for too. The queue ends with the first step (``scheduled_s``). The clocks of two
    processes may differ by a millisecond, so that a wait may come out below zero; it then counts as none.
    """
    found: Records = []
    lines: list[Ints] = []
    for objects, numbers in records(file, where, options):
        found += objects
        lines.append(numbers)
    numbers = np.concatenate(lines) if lines else np.empty(0, np.int64)
    columns = {name: _column(name, found, numbers, where) for name in WANTED}
    hashes = HashColumn()
    hashes.add([record.get("hash_ids") for record in found])
    rest = columns["output_tokens"] - 1
    decode_s = columns["last_token_s"] - columns["first_token_s"]
    timed = {
        "arrival_s": columns["arrival_s"],
        "queue_s": np.maximum(columns["scheduled_s"] - columns["arrival_s"], 0.0),
        "ttft_s": columns["first_token_s"] - columns["arrival_s"],
        "tpot_s": np.where(rest > 0, decode_s / np.maximum(rest, 1), np.nan),
        "e2e_s": columns["last_token_s"] - columns["arrival_s"],
    }
    lengths = lengths_of(columns["input_tokens"], columns["output_tokens"])
    return Rows(where, numbers, {**timed, **lengths}, prefixes=hashes.prefixes(BLOCK_TOKENS))


def _column(name: str, found: Records, lines: Ints, where: str) -> Floats:
    values = [record.get(name) for record in found]
    try:
        return np.array(values, float) if None not in values else _refuse(name, values, lines, where)
    except (TypeError, ValueError):
        return _refuse(name, values, lines, where)


def _refuse(name: str, values: list[Any], lines: Ints, where: str) -> Floats:
    place = next(place for place, value in enumerate(values) if not isinstance(value, int | float))
    came = "nothing" if values[place] is None else repr(values[place])
    raise TraceError(f"{where}, line {lines[place]}: {name} must be a number of seconds or tokens, got {came}.")
