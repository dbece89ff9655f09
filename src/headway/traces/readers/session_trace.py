"""Headway's own traces: the conversation of a session with a serving policy, read for what its requests were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

import msgspec
import numpy as np

from headway.core.errors import TraceError
from headway.traces.readers.gather import HashColumn
from headway.traces.readers.json_lines import first_record
from headway.traces.readers.options import Options
from headway.traces.readers.rows import MEASURED, Rows, lengths_of
from headway.traces.table import Ints, Labels

PROGRESS_LINES = 16_384
USUAL_BLOCKS = (16, 32, 64, 8, 128, 256, 512)


class _Request(msgspec.Struct, frozen=True):
    id: str = ""
    arrival_s: float = 0.0
    prompt_tokens: int = 0
    hashes: tuple[int, ...] = ()
    adapter: str = ""
    slo_class: str = ""
    tenant: str = ""
    after: tuple[str, ...] = ()


class _Record(msgspec.Struct, frozen=True):
    type: str = ""
    work: _Request | None = None
    id: str = ""
    reason: str = ""
    output_tokens: int = 0
    queue_s: float = 0.0
    ttft_s: float = 0.0
    tpot_s: float = 0.0
    e2e_s: float = 0.0


def looks_so(head: bytes) -> bool:
    """Say whether the first line is the header of such a trace."""
    return "headway_trace" in first_record(head)


def read(file: IO[bytes], where: str, options: Options) -> Rows:
    """Read the requests that a recorded run finished, with what was measured of them.

    Notes
    -----
    A request that was cancelled, or had not ended when the recording did, is left out: how long its output would have
    been is not known. Tokens per hashed block are not recorded either; they are the usual size that fits the lengths
    of all prompts.
    """
    arrived: dict[str, tuple[_Request, int]] = {}
    ended: dict[str, _Record] = {}
    for record, line in _records(file, where, options):
        if record.type == "RequestArrived" and record.work is not None:
            arrived[record.work.id] = (record.work, line)
        elif record.type == "RequestFinished" and record.reason != "cancelled":
            ended[record.id] = record
    known = [(request, line, ended[id]) for id, (request, line) in arrived.items() if id in ended]
    return _rows(known, where, len(arrived) - len(known))


def _records(file: IO[bytes], where: str, options: Options) -> Iterator[tuple[_Record, int]]:
    decoder = msgspec.json.Decoder(_Record)
    for number, line in enumerate(file, start=1):
        if number % PROGRESS_LINES == 1:
            options.on_progress(file)
        if b'"RequestArrived"' not in line and b'"RequestFinished"' not in line:
            continue
        try:
            yield decoder.decode(line), number
        except msgspec.DecodeError as error:
            if not line.endswith(b"\n"):  # as a killed process leaves it
                return
            raise TraceError(f"{where}, line {number}: must be an event or action, got: {error}.") from error


def _rows(known: list[tuple[_Request, int, _Record]], where: str, left_out: int) -> Rows:
    requests, ends = [request for request, _, _ in known], [end for _, _, end in known]
    columns = lengths_of([r.prompt_tokens for r in requests], [end.output_tokens for end in ends])
    columns["arrival_s"] = np.array([request.arrival_s for request in requests])
    columns |= {name: np.array([getattr(end, name) for end in ends]) for name in MEASURED}
    columns["tpot_s"] = np.where(columns["output_tokens"] > 1, columns["tpot_s"], np.nan)
    labels = {name: Labels.of([getattr(r, name) for r in requests]) for name in ("tenant", "slo_class", "adapter")}
    hashes = HashColumn()
    hashes.add([request.hashes for request in requests])
    after = _links(requests)
    if after is not None:
        end_s = columns["arrival_s"] + columns["e2e_s"]
        columns["gap_s"] = np.where(after >= 0, np.maximum(columns["arrival_s"] - end_s[after], 0.0), 0.0)
    lines = np.array([line for _, line, _ in known], np.int64)
    labels = {name: column for name, column in labels.items() if any(column.names)}
    return Rows(where, lines, columns, labels, hashes.prefixes(_block_tokens(requests)), after, left_out)


def _links(requests: Sequence[_Request]) -> Ints | None:
    if not any(request.after for request in requests):
        return None
    place = {request.id: row for row, request in enumerate(requests)}
    return np.array([max((place.get(id, -1) for id in request.after), default=-1) for request in requests])


def _block_tokens(requests: Sequence[_Request]) -> int:
    """Return the tokens per block with which every prompt has as many full blocks as hashes."""

    def fits(size: int) -> bool:
        return all(request.prompt_tokens // size == len(request.hashes) for request in hashed)

    hashed: list[Any] = [request for request in requests if request.hashes]
    return next((size for size in USUAL_BLOCKS if fits(size)), USUAL_BLOCKS[0])
