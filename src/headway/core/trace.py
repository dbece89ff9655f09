"""The trace: the whole conversation between a session and its policy, as tagged structs.

A file is JSON lines. The first line is a `TraceHeader`; every other line is one event or action whose ``type`` is the
name of its class. Replaying means feeding the events of a file to another policy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Union

import msgspec

from headway.core.actions import Action
from headway.core.errors import TraceError
from headway.core.events import Event

VERSION = 1
FLUSH_BYTES = 1 << 16

Record = Event | Action


class TraceHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader must know before the first record.

    Parameters
    ----------
    headway_trace : int
        Version of the format; 1.
    family : str
        Whose events and actions follow, for example ``"serving"``; empty for the core's own.
    policy : str
        Who decided.
    params : dict of str to object
        The parameters that it was given; the rest were its defaults.
    seed : int
        The run's seed.
    facts : dict of str to str or int
        What an engine says about itself, for those who make a model of it from the recording.
    """

    headway_trace: int = VERSION
    family: str = ""
    policy: str = ""
    params: dict[str, Any] = {}
    seed: int = 0
    facts: dict[str, str | int] = {}


class TraceSink(Protocol):
    """Where a session writes; both methods are called by the session only."""

    def write(self, record: Record) -> None:
        """Keep one event or action."""

    def close(self) -> None:
        """Bring everything to where it stays."""


class MemoryTrace:
    """The latest records, in memory.

    Parameters
    ----------
    limit : int
        How many records to keep, >= 1; older ones are dropped and counted in `num_dropped`.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self.records: deque[Record] = deque(maxlen=limit)
        self.num_dropped = 0

    def write(self, record: Record) -> None:
        """Keep one record, dropping the oldest when full."""
        if len(self.records) == self.records.maxlen:
            self.num_dropped += 1
        self.records.append(record)

    def close(self) -> None:
        """Nothing to bring anywhere."""

    @property
    def actions(self) -> list[Action]:
        """The actions among the records: the decision log."""
        return [record for record in self.records if isinstance(record, Action)]


class FileTrace:
    """A trace file, written through a small buffer so that memory stays flat however long the run.

    Parameters
    ----------
    path : path
        The file; it is replaced.
    header : TraceHeader
        Its first line.
    """

    def __init__(self, path: Path | str, header: TraceHeader | None = None) -> None:
        self.path = Path(path)
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray(self._encoder.encode(header or TraceHeader()) + b"\n")
        self._file: IO[bytes] = self.path.open("wb")

    def write(self, record: Record) -> None:
        """Append one record."""
        self._buffer += self._encoder.encode(record)
        self._buffer += b"\n"
        if len(self._buffer) >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered, for whoever reads the file now, or in case that nobody comes to close it."""
        self._file.write(self._buffer)
        self._buffer.clear()
        self._file.flush()

    def close(self) -> None:
        """Write what is buffered and close the file; may be called twice."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def __enter__(self) -> FileTrace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def known_records() -> dict[str, type[Record]]:
    """All event and action types defined so far, by tag. A family's appear once its nouns are imported."""
    found: dict[str, type[Record]] = {}
    todo: list[type[Any]] = [Event, Action]
    while todo:
        for cls in todo.pop().__subclasses__():
            found[str(cls.__struct_config__.tag)] = cls
            todo.append(cls)
    return found


def read_header(path: Path | str) -> TraceHeader:
    """Read the first line of a trace file.

    Raises
    ------
    TraceError
        When the file is not a trace of this version.
    """
    try:
        with Path(path).open("rb") as file:
            line = file.readline()
    except OSError as error:
        raise TraceError(f"{path}: must be a file that can be read, got: {error.strerror}.") from error
    try:
        header = msgspec.json.decode(line, type=TraceHeader)
    except msgspec.DecodeError as error:
        raise TraceError(f"{path}:1: the first line must be a trace header, got {line[:60]!r} ({error}).") from error
    if b'"headway_trace"' not in line:
        raise TraceError(f"{path}:1: the first line must be a trace header, got {line[:60]!r}. Is it cut off?")
    if header.headway_trace != VERSION:
        raise TraceError(f"{path}:1: the version must be {VERSION}, got {header.headway_trace}. Record it again.")
    return header


def read_trace(path: Path | str) -> Iterator[Record]:
    """Yield the events and actions of a trace file one by one, in constant memory.

    A last line cut short, as a killed process leaves it, ends the trace; any other bad line is an error.

    Raises
    ------
    TraceError
        When the file is not a trace, or a line in it cannot be read.
    """
    read_header(path)
    decoder = msgspec.json.Decoder(Union[tuple(known_records().values())])  # noqa: UP007 (built at run time)
    with Path(path).open("rb") as file:
        file.readline()
        for number, line in enumerate(file, start=2):
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError as error:
                if not line.endswith(b"\n"):
                    return
                raise TraceError(
                    f"{path}:{number}: every line must be a known event or action ({error}). "
                    "Import the nouns of the family that wrote it, such as headway.policies.serving.nouns."
                ) from error
