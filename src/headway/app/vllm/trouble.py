"""Finding in vLLM's log what went wrong first: one failure is told again by each process that hears of it."""

from __future__ import annotations

import re
from collections import deque

MOST_LINES = 60
LAST_LINES = 20

_PREFIX = re.compile(r"^(\([\w.-]+ pid=\d+\) )?([A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d \[\S+\] )?")
_BEGIN = re.compile(r"Traceback \(most recent call last\)|error: ")
_CAUSE = re.compile(r"(?:[\w.]+\.py: )?((?:error|[\w.]*(?:Error|Exception|Invalid\w*|NotFound\w*)): .*)")


class Trouble:
    """Reads a log line by line.

    Attributes
    ----------
    cause : str
        The first error; empty when there was none.
    """

    def __init__(self) -> None:
        self.cause = ""
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def lines(self) -> list[str]:
        """From where the first trouble begins up to its error; the last lines when there was none."""
        return self._first if self.cause else list(self._last)

    def read(self, line: str) -> None:
        """Take in a line."""
        self._last.append(line)
        if self.cause or len(self._first) > MOST_LINES:
            return
        text = _PREFIX.sub("", line)
        if self._first or _BEGIN.search(text):
            self._first.append(text)
            found = _CAUSE.fullmatch(text)
            self.cause = found[1] if found else ""
