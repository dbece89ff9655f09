"""CSV with a header, under the names that public traces and exports use."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import IO

import numpy as np

from headway.core.errors import TraceError
from headway.traces.readers.gather import Gather
from headway.traces.readers.names import resolve
from headway.traces.readers.options import Options
from headway.traces.readers.rows import Rows
from headway.traces.table import Ints

CHUNK_ROWS = 16_384
DELIMITERS = ",;\t"


def looks_so(head: bytes) -> bool:
    """Say whether a file that begins so may be CSV: a first line of names."""
    first = head.partition(b"\n")[0].strip()
    return any(mark.encode() in first for mark in DELIMITERS) and not first.startswith((b"{", b"["))


def read(file: IO[bytes], where: str, options: Options) -> Rows:
    """Read the rows of a CSV file, split by comma, semicolon or tab; columns with unknown names are passed over."""
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        first = text.readline()
        lines = csv.reader(chain([first], text), delimiter=max(DELIMITERS, key=first.count))
        return _read(lines, file, where, options)


def _read(lines: Iterator[list[str]], file: IO[bytes], where: str, options: Options) -> Rows:
    header = next(iter(_some(lines, 1, where)), [])
    chosen = resolve(header, options.columns, where)
    for name in chosen.values():
        if header.count(name) > 1:
            raise TraceError(f"{where}, line 1: columns must differ in name, got {name!r} twice. Rename one.")
    places = {target: header.index(name) for target, name in chosen.items()}
    gather = Gather(where, drop_bad=options.drop_bad)
    for rows, numbers in _chunks(lines, where):
        options.on_progress(file)
        _check_widths(rows, numbers, len(header), where)
        columns = list(zip(*rows, strict=True))
        gather.add({target: columns[place] for target, place in places.items()}, numbers)
    return gather.rows()


def _chunks(lines: Iterator[list[str]], where: str) -> Iterator[tuple[list[list[str]], Ints]]:
    first = 2
    while True:
        rows = _some(lines, CHUNK_ROWS, where)
        if not rows:
            return
        numbers = np.arange(first, first + len(rows))
        first += len(rows)
        full = [place for place, row in enumerate(rows) if row]
        if len(full) < len(rows):
            rows, numbers = [rows[place] for place in full], numbers[full]
        if rows:
            yield rows, numbers


def _some(lines: Iterator[list[str]], num: int, where: str) -> list[list[str]]:
    try:
        return list(islice(lines, num))
    except csv.Error as error:
        raise TraceError(f"{where}: must be CSV, got: {error}. Mend the file.") from error


def _check_widths(rows: Sequence[Sequence[str]], numbers: Ints, width: int, where: str) -> None:
    if set(map(len, rows)) == {width}:
        return
    place = next(place for place, row in enumerate(rows) if len(row) != width)
    raise TraceError(
        f"{where}, line {numbers[place]}: must have {width} values like the header, got {len(rows[place])}. "
        "Mend the file; is it cut off?"
    )
