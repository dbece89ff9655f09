"""How a fake engine hears: tasks that sleep on a clock put what happened into one inbox."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from headway.core.actions import Wake
from headway.core.clock import Clock
from headway.core.events import Event, Woke

NEWS, END, WAKE = range(3)
Happening = Callable[[], Iterator[Event]]


class Inbox:
    """What happened and has not been told yet; of one instant, news come first, then ends, then wake-ups."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._items: list[tuple[float, int, int, Happening]] = []
        self._order = itertools.count()
        self._filled = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wakes: set[Wake] = set()

    def put(self, rank: int, happen: Happening) -> None:
        heapq.heappush(self._items, (self.clock.now_s(), rank, next(self._order), happen))
        self._filled.set()

    def later(self, at_s: float, rank: int, happen: Happening) -> None:
        """Put something in at a later time."""

        async def sleep() -> None:
            await self.clock.sleep_until(at_s)
            self.put(rank, happen)

        self.spawn(sleep())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def wake(self, wake: Wake) -> None:
        if wake in self._wakes:
            return
        self._wakes.add(wake)

        def happen() -> Iterator[Event]:
            self._wakes.discard(wake)
            yield Woke(at_s=self.clock.now_s(), tag=wake.tag)

        self.later(wake.at_s, WAKE, happen)

    async def told(self, drained: Callable[[], bool]) -> AsyncIterator[Event]:
        """Yield what happens, until the engine is drained; then end every task."""
        while not drained():
            while not self._items:
                self._filled.clear()
                await self._filled.wait()
            for event in heapq.heappop(self._items)[3]():
                yield event
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
