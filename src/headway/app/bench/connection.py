"""One HTTP/1.1 connection with h11 as its parser: each arrival of bytes is timed where the event loop hands it over.

A full-grown client costs two to three times as much processor time per streamed token, and on a small machine that time
is taken from the server under test.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import cast

import h11

from headway.app.bench.answer import Reading


class Connection(asyncio.Protocol):
    """Carries one request at a time, and may be used again when an answer has ended cleanly."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT)
        self._transport: asyncio.Transport | None = None
        self._reading: Reading | None = None
        self._ended: asyncio.Future[str] | None = None
        self.idle_since_s = 0.0

    @property
    def reusable(self) -> bool:
        """Whether it is open and waits for a request."""
        open_ = self._transport is not None and not self._transport.is_closing()
        return open_ and self._http.our_state is h11.IDLE and self._reading is None

    async def ask(self, path: str, head: Sequence[tuple[bytes, bytes]], body: bytes, reading: Reading) -> None:
        """Send one request and read its answer to the end into `reading`, which is closed in any case."""
        if self._transport is None:
            reading.close("the connection was not open")
            return
        self._reading, self._ended = reading, asyncio.get_running_loop().create_future()
        start = self._http.send(h11.Request(method="POST", target=path, headers=list(head)))
        data = self._http.send(h11.Data(data=body))
        end = self._http.send(h11.EndOfMessage())
        self._transport.write(b"".join(part for part in (start, data, end) if part))
        try:
            reading.close(await self._ended)
        except BaseException:
            self.close()
            raise
        finally:
            self._reading = self._ended = None

    def close(self) -> None:
        """Close without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop with what came."""
        clock_s = time.perf_counter()
        try:
            self._http.receive_data(data)
            self._events(clock_s)
        except h11.RemoteProtocolError as error:
            self._end(f"not HTTP: {error}")
            self.close()

    def eof_received(self) -> None:
        """Called by the event loop when the server will send no more."""
        self.data_received(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop when the connection is gone."""
        self._transport = None
        self._end(f"the connection broke: {exc}" if exc else "the server closed the connection")

    def _events(self, clock_s: float) -> None:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.ConnectionClosed):
                return
            reading = self._reading
            if isinstance(event, h11.Data) and reading:
                reading.data(bytes(event.data), clock_s)
            elif isinstance(event, h11.Response) and reading:
                reading.status(event.status_code)
            elif isinstance(event, h11.EndOfMessage):
                self._finish(clock_s)
                return

    def _finish(self, clock_s: float) -> None:
        self.idle_since_s = clock_s
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self.close()
        self._end("")

    def _end(self, why: str) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(why)
