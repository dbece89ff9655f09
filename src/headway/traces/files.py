"""Files of traces: opened packed or plain, and written whole or not at all."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from headway.core.errors import TraceError

PACKED = b"\x1f\x8b"
BROKEN = (OSError, EOFError, UnicodeDecodeError, zlib.error)
"""What reading a file that is missing, cut off or not what its name says can raise."""


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, through gzip where its content is packed.

    Raises
    ------
    TraceError
        When it cannot be opened, or breaks while it is read.
    """
    try:
        with path.open("rb") as file:
            if file.peek(2)[:2] == PACKED:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked  # type: ignore[misc]
            else:
                yield file
    except BROKEN as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise TraceError(f"{path}: must be a readable trace file, got: {why}. Check the file.") from error


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing, packed when it ends in ``.gz``; it appears under its name only when all is written.

    Raises
    ------
    TraceError
        When its folder cannot be written to.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise TraceError(f"{path}: must be in a folder that can be written to, got: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            if path.suffix == ".gz":
                # Without a time and a name inside, equal traces make equal files.
                with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield file
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def kind_of(path: Path) -> str:
    """Return the last suffix of a name, the one of gzip aside: ``"csv"``, ``"jsonl"``, ``"parquet"``."""
    return Path(path.name.removesuffix(".gz")).suffix.removeprefix(".").lower()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
