"""Parquet, under the names that public traces and exports use; needs pyarrow (extra ``plan``)."""

from __future__ import annotations

from importlib import import_module
from typing import IO, Any

import numpy as np

from headway.core.errors import TraceError, missing_extra
from headway.traces.readers.gather import Gather
from headway.traces.readers.names import resolve
from headway.traces.readers.options import Options
from headway.traces.readers.rows import Rows

CHUNK_ROWS = 16_384
MAGIC = b"PAR1"


def looks_so(head: bytes) -> bool:
    """Say whether a file that begins so is Parquet."""
    return head.startswith(MAGIC)


def read(file: IO[bytes], where: str, options: Options) -> Rows:
    """Read the rows of a Parquet file; columns with unknown names are not even unpacked."""
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise missing_extra("pyarrow", "plan", "to read Parquet") from error
    try:
        opened = parquet.ParquetFile(file)
        return _read(opened, where, options, file)
    except arrow.ArrowException as error:
        raise TraceError(f"{where}: must be a whole Parquet file, got: {error}. Check the file.") from error


def _read(opened: Any, where: str, options: Options, file: IO[bytes]) -> Rows:
    chosen = resolve(opened.schema_arrow.names, options.columns, where)
    gather = Gather(where, drop_bad=options.drop_bad)
    first = 1
    for batch in opened.iter_batches(CHUNK_ROWS, columns=list(chosen.values())):
        options.on_progress(file)
        rows = np.arange(first, first + batch.num_rows)
        gather.add({target: _values(batch.column(name)) for target, name in chosen.items()}, rows)
        first += batch.num_rows
    return gather.rows()


def _values(column: Any) -> list[Any]:
    kind = str(column.type)
    if kind.startswith(("timestamp", "date")):
        return [None if value is None else value.isoformat() for value in column.cast("timestamp[us]").to_pylist()]
    found: list[Any] = column.to_pylist()
    return found
