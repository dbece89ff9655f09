"""Writers: a table of requests as CSV, JSON lines or Parquet, so that reading it again gives the same table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from headway.core.errors import ConfigError, missing_extra
from headway.traces.files import kind_of, writing
from headway.traces.table import RequestTable

CHUNK_ROWS = 16_384

OnWritten = Callable[[int], None]
"""Told how many requests have been written."""


def write_requests(table: RequestTable, path: Path | str, on_written: OnWritten | None = None) -> None:
    """Write a trace to a file; its name's ending says how: ``.csv``, ``.jsonl`` (each also with ``.gz``), ``.parquet``.

    Parameters
    ----------
    table : RequestTable
        The requests.
    path : path
        The file; it is replaced when all is written, and left as it was when something goes wrong.
    on_written : callable or None
        Told of progress.

    Raises
    ------
    ConfigError
        When the ending is of no known format.
    TraceError
        When its folder cannot be written to.

    Notes
    -----
    CSV has no place for the hashes of prefixes; they are left out there.
    """
    path = Path(path)
    check_target(path)
    writers = {"csv": _write_csv, "jsonl": _write_json_lines, "parquet": _write_parquet}
    with writing(path) as file:
        writers[kind_of(path)](file, table, on_written or _nobody)


def check_target(path: Path) -> None:
    """Raise for a file that a trace cannot be written to.

    Raises
    ------
    ConfigError
        When its ending is of no known format, or its folder does not exist.
    """
    if kind_of(path) not in ("csv", "jsonl", "parquet") or path.name.endswith(".parquet.gz"):
        raise ConfigError(f"{path}: must end in .csv, .jsonl (or either with .gz) or .parquet, got {path.name!r}.")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: its folder must exist, but it does not. Run `mkdir -p {path.parent}`.")
    if path.is_dir():
        raise ConfigError(f"{path}: must be a file, but it is a folder. Name a file in it.")


def keeps_prefixes(path: Path) -> bool:
    """Say whether the format of a file has a place for hashes."""
    return kind_of(path) != "csv"


def columns_of(table: RequestTable) -> dict[str, Any]:
    """Return the columns of a table under the names they are written by, hashes aside."""
    found: dict[str, Any] = {
        "arrival_s": table.arrival_s, "prompt_tokens": table.prompt_tokens, "output_tokens": table.output_tokens,
    }  # fmt: skip
    found |= {name: np.array(labels.names, object)[labels.codes] for name, labels in table.labels.items()}
    return found | table.optional() | table.measured


def _write_csv(file: IO[bytes], table: RequestTable, on_written: OnWritten) -> None:
    columns = columns_of(table)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(columns)
    for first in range(0, len(table), CHUNK_ROWS):
        part = [column[first : first + CHUNK_ROWS].tolist() for column in columns.values()]
        rows.writerows(zip(*(_blank_unknown(values) for values in part), strict=True))
        on_written(first + len(part[0]))
    text.flush()
    text.detach()


def _blank_unknown(values: list[Any]) -> list[Any]:
    return ["" if value != value else value for value in values]  # only NaN differs from itself


def _write_json_lines(file: IO[bytes], table: RequestTable, on_written: OnWritten) -> None:
    columns, encoder = columns_of(table), msgspec.json.Encoder()
    for first in range(0, len(table), CHUNK_ROWS):
        rows = range(first, min(first + CHUNK_ROWS, len(table)))
        part = zip(*(column[rows.start : rows.stop].tolist() for column in columns.values()), strict=True)
        records = (dict(zip(columns, values, strict=True)) for values in part)
        chains = _chains(table, rows)
        file.write(encoder.encode_lines([{**_known(record), **next(chains)} for record in records]))
        on_written(rows.stop)


def _known(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value == value}


def _chains(table: RequestTable, rows: range) -> Iterator[dict[str, Any]]:
    prefixes = table.prefixes
    if prefixes is None:
        return repeat({})
    return ({"block_tokens": prefixes.block_tokens, "hash_ids": prefixes[row].tolist()} for row in rows)


def _write_parquet(file: IO[bytes], table: RequestTable, on_written: OnWritten) -> None:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise missing_extra("pyarrow", "plan", "to write Parquet") from error
    columns = {name: arrow.array(column) for name, column in columns_of(table).items()}
    if table.prefixes is not None:
        columns["block_tokens"] = arrow.array(np.full(len(table), table.prefixes.block_tokens))
        columns["hash_ids"] = arrow.LargeListArray.from_arrays(table.prefixes.offsets, table.prefixes.values)
    parquet.write_table(arrow.table(columns), file)
    on_written(len(table))


def _nobody(_: int) -> None:
    pass
