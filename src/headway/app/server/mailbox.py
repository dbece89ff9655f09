"""Where the engine, the clock and the client's connection leave what one HTTP request must know."""

from __future__ import annotations

import asyncio

from headway.engines.llm.messages import Output


class ClientGone(Exception):
    """The client closed its connection; nobody waits for an answer."""


class Mailbox:
    """News of one HTTP request, in order; taken all at once, so that one wake-up serves everything that is here.

    Nothing waits and no task is made when news are left, whatever their number.
    """

    def __init__(self) -> None:
        self._news: list[Output] = []
        self._end: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def push(self, output: Output) -> None:
        """Leave news."""
        self._news.append(output)
        self._wake()

    def fail(self, error: Exception) -> None:
        """Leave the reason why no more news will come; the first one counts."""
        self._end = self._end or error
        self._wake()

    async def take(self) -> list[Output]:
        """Wait for news and take all that are here; news come before a failure that followed them.

        Raises
        ------
        Exception
            What `fail` was given.
        """
        while not self._news:
            if self._end is not None:
                raise self._end
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        news, self._news = self._news, []
        return news

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
