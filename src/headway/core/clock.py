"""Where engines get time from; policies never see a clock."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds


class Clock(Protocol):
    """Seconds since the start of the run, and a way to wait for a later one."""

    def now_s(self) -> Seconds:
        """Return the present, in seconds since the start of the run."""

    async def sleep_until(self, at_s: Seconds) -> None:
        """Return when the present is `at_s` or later."""


class WallClock:
    """Real time, counted from construction."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()

    def now_s(self) -> Seconds:
        """Return real seconds since construction."""
        return time.monotonic() - self._start_s

    async def sleep_until(self, at_s: Seconds) -> None:
        """Sleep in real time."""
        while (left_s := at_s - self.now_s()) > 0:  # a loop may wake a sleeper a hair too early
            await asyncio.sleep(left_s)


class ScaledClock:
    """Real time that runs `rate` times as fast.

    Parameters
    ----------
    rate : float
        Run seconds per real second, > 0.

    Raises
    ------
    ConfigError
        When `rate` is not positive.
    """

    def __init__(self, rate: float) -> None:
        if not rate > 0:
            raise ConfigError(f"ScaledClock: rate must be > 0, got {rate}. Try 10 for ten times real time.")
        self.rate = rate
        self._wall = WallClock()

    def now_s(self) -> Seconds:
        """Return scaled seconds since construction."""
        return self._wall.now_s() * self.rate

    async def sleep_until(self, at_s: Seconds) -> None:
        """Sleep for the scaled remainder."""
        while (left_s := at_s - self.now_s()) > 0:
            await asyncio.sleep(left_s / self.rate)


class TestClock:
    """Time that jumps to the next deadline whenever nobody has anything else to do.

    The event loop cannot say that it is idle, so the clock lets every ready task run for `patience` rounds after the
    last call to `sleep_until`, then jumps. All sleepers of one instant wake in the order in which they went to sleep.

    Parameters
    ----------
    patience : int
        Rounds of the event loop to wait before a jump, >= 1; 20 by default.
    """

    __test__ = False  # not a test class, whatever its name says to pytest

    def __init__(self, patience: int = 20) -> None:
        self.patience = patience
        self._now_s = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[Seconds, int, asyncio.Future[None]]] = []
        self._calls = 0

    def now_s(self) -> Seconds:
        """Return the present of the test."""
        return self._now_s

    async def sleep_until(self, at_s: Seconds) -> None:
        """Wait until the clock has jumped to `at_s`."""
        if at_s <= self._now_s:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._sleepers, (at_s, next(self._order), future))
        self._calls += 1
        loop.call_soon(self._jump_when_quiet, loop, self._calls, self.patience)
        await future

    def _jump_when_quiet(self, loop: asyncio.AbstractEventLoop, call: int, rounds: int) -> None:
        if call != self._calls:
            return  # a later sleeper took over the watch
        if rounds:
            loop.call_soon(self._jump_when_quiet, loop, call, rounds - 1)
            return
        self._wake_earliest()
        if self._sleepers:
            loop.call_soon(self._jump_when_quiet, loop, call, self.patience)

    def _wake_earliest(self) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if not self._sleepers:
            return
        self._now_s = self._sleepers[0][0]
        while self._sleepers and self._sleepers[0][0] <= self._now_s:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
