"""JSON lines (or one JSON array) of requests, under the names that public traces and exports use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import IO, Any

import msgspec
import numpy as np

from headway.core.errors import TraceError
from headway.traces.readers.gather import Gather
from headway.traces.readers.names import resolve
from headway.traces.readers.options import Options
from headway.traces.readers.rows import Rows
from headway.traces.table import Ints

CHUNK_ROWS = 16_384
MOONCAKE_BLOCK_TOKENS = 512

Records = list[dict[str, Any]]


def looks_so(head: bytes) -> bool:
    """Say whether a file that begins so may be JSON lines."""
    return head.lstrip()[:1] in (b"{", b"[")


def looks_like_mooncake(head: bytes) -> bool:
    """Say whether the first line is one of Mooncake's."""
    return {"timestamp", "input_length", "output_length"} <= set(first_record(head))


def read(file: IO[bytes], where: str, options: Options) -> Rows:
    """Read one request per object; numbers in ``timestamp`` are seconds."""
    return _read(file, where, options, {}, block_tokens=16)


def read_mooncake(file: IO[bytes], where: str, options: Options) -> Rows:
    """Read the format of Mooncake's traces: ``timestamp`` in milliseconds, ``hash_ids`` of 512 tokens each.

    Notes
    -----
    Source: R. Qin et al., "Mooncake: Trading More Storage for Less Computation", FAST 2025, section 4.1.
    """
    return _read(file, where, options, {"arrival_ms": "timestamp"}, block_tokens=MOONCAKE_BLOCK_TOKENS)


def first_record(head: bytes) -> dict[str, Any]:
    """Return the object on the first line of a file that begins so; empty when there is none."""
    try:
        return msgspec.json.decode(head.lstrip().partition(b"\n")[0], type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def records(file: IO[bytes], where: str, options: Options) -> Iterator[tuple[Records, Ints]]:
    """Yield the objects of a file in chunks, each with its line.

    Raises
    ------
    TraceError
        When a line is not one JSON object.
    """
    lines = iter(file)
    first = next(lines, b"")
    if first.lstrip().startswith(b"["):
        yield _array(first + file.read(), where)
        return
    numbered = enumerate(chain([first], lines), start=1)
    decoder = msgspec.json.Decoder(dict[str, Any])
    while chunk := [(number, line) for number, line in islice(numbered, CHUNK_ROWS) if line.strip()]:
        options.on_progress(file)
        yield [_decoded(decoder, line, number, where) for number, line in chunk], np.array([n for n, _ in chunk])


def _read(file: IO[bytes], where: str, options: Options, renamed: Mapping[str, str], block_tokens: int) -> Rows:
    gather = Gather(where, drop_bad=options.drop_bad, block_tokens=block_tokens)
    chosen: dict[str, str] = {}
    for objects, lines in records(file, where, options):
        if not chosen:
            found = dict.fromkeys(name for record in objects for name in record)
            given = {target: name for target, name in renamed.items() if name in found}
            chosen = resolve(found, {**given, **options.columns}, where)
        gather.add({target: [r.get(name) for r in objects] for target, name in chosen.items()}, lines)
    return gather.rows()


def _decoded(decoder: msgspec.json.Decoder[dict[str, Any]], line: bytes, number: int, where: str) -> dict[str, Any]:
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        raise TraceError(f"{where}, line {number}: must be one JSON object, got: {error}. Mend the line.") from error


def _array(content: bytes, where: str) -> tuple[Records, Ints]:
    try:
        found = msgspec.json.decode(content, type=list[dict[str, Any]])
    except msgspec.DecodeError as error:
        raise TraceError(f"{where}: must be a JSON array of objects, got: {error}. Mend the file.") from error
    return found, np.arange(1, len(found) + 1)
