"""Cut a byte stream into server-sent events."""

from __future__ import annotations


class EventCutter:
    """Collects bytes and gives back the data of every event that is complete.

    Only what OpenAI-style streams use is read: ``data:`` lines, events ended by an empty line, comments skipped.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Take more bytes; returns the data of each event they complete, in order."""
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n")
        *whole, self._rest = (self._rest + piece).split(b"\n\n")
        return [data for event in whole if (data := _data(event)) is not None]


def _data(event: bytes) -> bytes | None:
    if event.startswith(b"data:") and b"\n" not in event:
        return event[5:].strip()
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
