"""Measurements by the clock take turns, whichever processes of this machine they run in."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other measurement is under way, and keep others waiting meanwhile."""
    try:
        import fcntl
    except ImportError:  # Windows: measurements may disturb each other there
        yield
        return
    path = Path(tempfile.gettempdir()) / f"headway-measuring-{getpass.getuser()}.lock"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
