"""Sessions of agents: calls of a model with tools at work in between."""

from __future__ import annotations

from dataclasses import replace
from typing import IO, Any

import numpy as np

from headway.core.errors import TraceError
from headway.traces.readers.gather import HashColumn
from headway.traces.readers.json_lines import Records, first_record, records
from headway.traces.readers.options import Options
from headway.traces.readers.rows import Rows, lengths_of
from headway.traces.table import Floats, Ints, Labels

BLOCK_TOKENS = 64
FASTEST_QUANTILE = 0.05
WANTED = ("session", "call", "t_s", "input_tokens", "output_tokens")


def looks_so(head: bytes) -> bool:
    """Say whether the first line is a call of a session."""
    return {"session", "call", "t_s"} <= set(first_record(head))


def read(file: IO[bytes], where: str, options: Options) -> Rows:
    """Read calls with ``session``, ``call``, ``t_s`` (since its session began), lengths and hashes of 64-token blocks.

    Notes
    -----
    A recording says when each call began, so what lies between two calls is the model's time and the tool's together.
    The part of the model is estimated: its seconds per output token are taken to be the 5% quantile of (time to the
    next call / output tokens) over the file, that is, of the calls whose tool took next to nothing; the rest is
    `gap_s`, never below 0. Prefill is not taken off, so a gap is too long rather than too short. All sessions begin
    at 0, for a recording does not say when people started them.
    """
    found: Records = []
    lines: list[Ints] = []
    for objects, numbers in records(file, where, options):
        found += objects
        lines.append(numbers)
    numbers = np.concatenate(lines) if lines else np.empty(0, np.int64)
    _check(found, numbers, where)
    good = [place for place, record in enumerate(found) if not options.drop_bad or _is_good(record)]
    # Bad calls go before gaps are measured, so that a gap spans from one call that is kept to the next.
    rows = _rows([found[place] for place in good], numbers[good], where)
    return replace(rows, left_out=len(found) - len(good))


def _is_good(record: dict[str, Any]) -> bool:
    return bool(record["input_tokens"] >= 1 and record["output_tokens"] >= 1)


def _rows(found: Records, lines: Ints, where: str) -> Rows:
    sessions = np.array([str(record["session"]) for record in found])
    at_s = np.array([record["t_s"] for record in found], float)
    columns = lengths_of([r["input_tokens"] for r in found], [r["output_tokens"] for r in found])
    hashes = HashColumn()
    hashes.add([record.get("hash_ids") for record in found])
    after = _predecessors(sessions, np.array([record["call"] for record in found], float))
    columns |= {"arrival_s": at_s, "gap_s": _gaps(at_s, after, columns["output_tokens"])}
    labels = {"session": Labels.of(sessions.tolist())}
    rows = Rows(where, lines, columns, labels, hashes.prefixes(BLOCK_TOKENS), after)
    return rows.take(np.argsort(at_s, kind="stable"))


def _predecessors(sessions: Any, calls: Floats) -> Ints:
    """Return the row of each call's predecessor, or -1."""
    _, of = np.unique(sessions, return_inverse=True)
    order = np.lexsort((calls, of))
    after = np.full(len(order), -1, np.int64)
    same = of[order][1:] == of[order][:-1]
    after[order[1:][same]] = order[:-1][same]
    return after


def _gaps(at_s: Floats, after: Ints, output_tokens: Floats) -> Floats:
    follows = after >= 0
    between_s, tokens = at_s[follows] - at_s[after[follows]], np.maximum(output_tokens[after[follows]], 1)
    gaps = np.zeros(len(at_s))
    if len(tokens):
        s_per_token = float(np.quantile(between_s / tokens, FASTEST_QUANTILE))
        gaps[follows] = np.maximum(between_s - s_per_token * tokens, 0.0)
    return gaps


def _check(found: Records, lines: Ints, where: str) -> None:
    for record, line in zip(found, lines.tolist(), strict=True):
        for name in WANTED:
            value = record.get(name)
            if value is None or (name != "session" and not isinstance(value, int | float)):
                came = "nothing" if value is None else repr(value)
                raise TraceError(f"{where}, line {line}: {name} of a call must be a number, got {came}. Mend the line.")
