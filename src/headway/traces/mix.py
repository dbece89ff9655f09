"""Several tables as one: the requests of all of them, by arrival."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from headway.traces.table import Ints, Labels, Prefixes, RequestTable


def mixed(tables: Sequence[RequestTable], source: str) -> RequestTable:
    """Return the requests of all tables, by arrival; those of different tables share neither prefixes nor sessions.

    Parameters
    ----------
    tables : sequence of RequestTable
        At least one.
    source : str
        What the result is called.
    """
    arrival_s = np.concatenate([table.arrival_s for table in tables])
    rows = np.argsort(arrival_s, kind="stable")
    has_chains = any(table.after is not None for table in tables)
    return RequestTable(
        arrival_s[rows],
        np.concatenate([table.prompt_tokens for table in tables])[rows],
        np.concatenate([table.output_tokens for table in tables])[rows],
        labels={name: _labels(name, tables).take(rows) for name in sorted({n for t in tables for n in t.labels})},
        prefixes=_prefixes(tables, rows),
        after=_after(tables, rows) if has_chains else None,
        gap_s=_column("gap_s", tables, rows, 0.0),
        joins=_column("joins", tables, rows, 0),
        due_s=_column("due_s", tables, rows, np.nan),
        source=source,
    )


def _labels(name: str, tables: Sequence[RequestTable]) -> Labels:
    """Return one column of a label; sessions are told apart by the number of their table."""
    names: dict[str, int] = {"": 0}
    codes: list[Ints] = []
    for number, table in enumerate(tables):
        column = table.labels.get(name)
        if column is None:
            codes.append(np.zeros(len(table), np.int64))
            continue
        called = [f"{number}/{one}" if name == "session" and one else one for one in column.names]
        place = np.array([names.setdefault(one, len(names)) for one in called], np.int64)
        codes.append(place[column.codes])
    return Labels(np.concatenate(codes), tuple(names))


def _after(tables: Sequence[RequestTable], rows: Ints) -> Ints:
    found, first = [], 0
    for table in tables:
        after = np.full(len(table), -1) if table.after is None else table.after
        found.append(np.where(after >= 0, after + first, -1))
        first += len(table)
    place = np.full(first + 1, -1, np.int64)  # the last entry is what -1 looks up
    place[rows] = np.arange(first)
    moved: Ints = place[np.concatenate(found)][rows]
    return moved


def _column(name: str, tables: Sequence[RequestTable], rows: Ints, missing: float) -> Any:
    """Return one column of numbers, or None where no table has it."""
    found = [getattr(table, name) for table in tables]
    if all(column is None for column in found):
        return None
    parts = [np.full(len(t), missing) if c is None else c for t, c in zip(tables, found, strict=True)]
    return np.concatenate(parts)[rows]


def _prefixes(tables: Sequence[RequestTable], rows: Ints) -> Prefixes | None:
    """Return chains of blocks of one size, no hash of which is in two tables."""
    sizes = [table.prefixes.block_tokens for table in tables if table.prefixes is not None]
    if not sizes:
        return None
    size, first = math.gcd(*sizes), 0
    values, lengths = [], []
    for table in tables:
        if table.prefixes is None:
            lengths.append(np.zeros(len(table), np.int64))
            continue
        parts = table.prefixes.block_tokens // size
        _, dense = np.unique(table.prefixes.values, return_inverse=True)
        values.append((dense[:, None] * parts + np.arange(parts)).ravel() + first)
        lengths.append(np.diff(table.prefixes.offsets) * parts)
        first += int(dense.max(initial=0) + 1) * parts
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
    return Prefixes(size, np.concatenate(values).astype(np.int64), offsets).take(rows)
