"""How much may come in: the length of a body, and how many outputs wait and run at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from headway.app.server.errors import invalid, timed_out, too_busy, too_large, unavailable

MAX_RETRY_AFTER_S = 60
RECENT_LEAVERS = 64
BODY_TIMEOUT_S = 60.0


class Gate:
    """Lets outputs in while there is room, and knows when all are out again.

    Parameters
    ----------
    room : int
        The most outputs inside at once, >= 1.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.live = 0
        self.draining = False
        self._left_s: deque[float] = deque(maxlen=RECENT_LEAVERS)
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self, count: int) -> None:
        """Let `count` outputs in, or raise an `ApiError`: 503 while draining, 429 when there is no room.

        A request that could never fit is told so with a 400.
        """
        self.check(count)
        self.live += count
        self._empty.clear()

    def check(self, count: int) -> None:
        """Raise what `enter` would raise now."""
        if self.draining:
            raise unavailable("it is shutting down", "shutting_down")
        if count > self.room:
            raise invalid(f"A request may ask for at most {self.room} outputs, got {count}.", "n")
        if self.live + count > self.room:
            raise too_busy(self.retry_after_s)

    def leave(self, count: int) -> None:
        """Note that `count` outputs are out."""
        self.live -= count
        self._left_s.append(time.monotonic())
        if not self.live:
            self._empty.set()

    async def empty(self) -> None:
        """Wait until nobody is inside."""
        await self._empty.wait()

    @property
    def retry_after_s(self) -> int:
        """In how many whole seconds somebody will have left, judging by those who left last; 1 to 60."""
        if len(self._left_s) < 2:
            return 1
        gap_s = (time.monotonic() - self._left_s[0]) / len(self._left_s)
        return min(MAX_RETRY_AFTER_S, max(1, math.ceil(gap_s)))


async def read_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """Read a request's body, or raise an `ApiError` as soon as it is known to be too long.

    Raises
    ------
    ApiError
        413 when the body is longer than `limit_bytes`, announced or in fact; 504 when it does not come.
    ClientDisconnect
        When the client went away in the middle.
    """
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise too_large(limit_bytes)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await _read(receive, limit_bytes)
    except TimeoutError:
        raise timed_out(BODY_TIMEOUT_S) from None


async def _read(receive: Receive, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit_bytes:
            raise too_large(limit_bytes)
        if not message.get("more_body", False):
            return b"".join(parts)


async def discard_body(receive: Receive, limit_s: float = 2.0) -> None:
    """Throw away what is still coming, for a while, so that a client in the middle of sending can read our answer."""
    try:
        async with asyncio.timeout(limit_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
