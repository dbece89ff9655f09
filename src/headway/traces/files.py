"""Files of traces: opened packed or plain, and written whole or not at all."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from headway.core.errors import TraceError
from headway.core.writing import replacing

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
    ConfigError
        When its folder does not exist, or its place is not for a file.
    """
    with replacing(path) as beside, beside.open("wb") as file:
        if path.suffix == ".gz":
            # Without a time and a name inside, equal traces make equal files.
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
                yield packed  # type: ignore[misc]
        else:
            yield file


def kind_of(path: Path) -> str:
    """Return the last suffix of a name, the one of gzip aside: ``"csv"``, ``"jsonl"``, ``"parquet"``."""
    return Path(path.name.removesuffix(".gz")).suffix.removeprefix(".").lower()
