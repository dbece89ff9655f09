"""Sends requests over as many connections as they need, and writes down what became of each."""

from __future__ import annotations

import asyncio
import ssl
import time
from urllib.parse import urlsplit

from headway.app.bench.answer import Answer, Reading
from headway.app.bench.connection import Connection
from headway.app.bench.target import Target

MAX_IDLE_S = 1.0
"""Older idle connections are not used again: a server may be closing them just now."""


class Client:
    """A pool of connections to one target.

    Parameters
    ----------
    target : Target
        Where to send.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        parts = urlsplit(target.base_url)
        self._host = parts.hostname or ""
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl else 80)
        self._path = urlsplit(target.url).path
        self._idle: list[Connection] = []

    async def send(self, body: bytes, answer: Answer, start_s: float) -> None:
        """Send one request and read its answer; `answer` is complete afterwards, whatever happens."""
        reading = Reading(answer, start_s)
        answer.sent_s = time.perf_counter() - start_s
        try:
            async with asyncio.timeout(self.target.timeout_s):
                connection = await self._connect()
                await connection.ask(self._path, self.target.head(answer.id, len(body)), body, reading)
        except TimeoutError:
            reading.close(f"no complete answer within {self.target.timeout_s:g} s")
        except asyncio.CancelledError:
            reading.close("interrupted")
            raise
        except OSError as error:
            reading.close(f"no connection: {error.strerror or error}")
        else:
            if connection.reusable:
                self._idle.append(connection)

    async def close(self) -> None:
        """Close all connections that wait."""
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # the event loop closes sockets at its next turn

    async def _connect(self) -> Connection:
        oldest_s = time.perf_counter() - MAX_IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and connection.idle_since_s >= oldest_s:
                return connection
            connection.close()
        loop = asyncio.get_running_loop()
        _, fresh = await loop.create_connection(Connection, self._host, self._port, ssl=self._ssl)
        return fresh
