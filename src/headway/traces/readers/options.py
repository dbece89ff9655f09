"""How a file is to be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO

OnRead = Callable[[int], None]
"""Told how many bytes of the file, as it lies on disk, have been read."""


@dataclass(frozen=True)
class Options:
    """What a reader may be told.

    Parameters
    ----------
    columns : mapping of str to str
        Column of a table to its name in the file, where the usual names do not find it.
    drop_bad : bool
        Whether rows without sense are left out instead of refused.
    start_s, end_s : float
        Which span of a model of clients is drawn, in seconds; files of requests are read whole.
    max_requests : int or None
        How many requests a model of clients may bring at most, >= 1; files of requests are read whole.
    seed : int
        Of what a model of clients draws.
    on_read : callable or None
        Told of progress.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    drop_bad: bool = False
    start_s: float = 0.0
    end_s: float | None = None
    max_requests: int | None = None
    seed: int = 0
    on_read: OnRead | None = None

    def on_progress(self, file: IO[bytes]) -> None:
        """Tell how far the reading of `file` has come."""
        if self.on_read is not None:
            below = getattr(file, "fileobj", None) or file  # of a packed file, what lies on disk
            self.on_read(below.tell())
