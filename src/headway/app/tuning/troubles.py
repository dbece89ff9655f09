"""What can go wrong with the books and the files of fine-tuning."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from headway.core.errors import HeadwayError

FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(HeadwayError, OSError):
    """There is no room to write what had to be written; nothing of it was kept."""


class NameTaken(HeadwayError, ValueError):
    """A model, an adapter or a live job has that name already."""


class UnknownCursor(HeadwayError, LookupError):
    """A list was asked to go on after something that is not in it."""


@contextmanager
def noticing_full_disks() -> Iterator[None]:
    """Raise `DiskFull` for the errors by which the system and SQLite say that the disk is full."""
    try:
        yield
    except DiskFull:
        raise
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        raise _full() from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise _full() from error


def _full() -> DiskFull:
    return DiskFull("The disk that keeps files and jobs of fine-tuning is full. Make room in the state folder.")
