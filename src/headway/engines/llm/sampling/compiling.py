"""Requests that wait for their grammar."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Seconds
from headway.engines.llm.messages import Submit
from headway.engines.llm.sampling.recipe import Matcher


class Compiler(Protocol):
    """Compiles schemas in the background; `headway.engines.llm.sampling.grammar.Grammars` is one."""

    def compile(self, schema: str, bell: Callable[[], None] = ...) -> Future[Matcher]:
        """Begin to compile; `bell` is called in another thread when it is done."""


class Compiling:
    """Keeps requests until their grammar is compiled, while the engine goes on.

    Parameters
    ----------
    compiler : Compiler or None
        Without one, requests that need a grammar are rejected.
    """

    def __init__(self, compiler: Compiler | None) -> None:
        self._compiler = compiler
        self._pending: dict[Id, tuple[Submit, Seconds, Future[Matcher]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell = asyncio.Event()

    @property
    def num_pending(self) -> int:
        """Requests that wait."""
        return len(self._pending)

    def begin(self, submit: Submit, arrival_s: Seconds) -> None:
        """Begin to compile the grammar of a request.

        Raises
        ------
        ConfigError
            When there is no compiler.
        """
        if self._compiler is None:
            raise ConfigError("response_format: this engine has no grammar compiler.")
        assert submit.sampling.grammar is not None
        self._loop = asyncio.get_running_loop()
        future = self._compiler.compile(submit.sampling.grammar, self._ring_from_thread)
        self._pending[submit.id] = (submit, arrival_s, future)

    def done(self) -> list[tuple[Submit, Seconds, Matcher | ConfigError]]:
        """Take off the requests whose grammar is compiled, or turned out to be no good."""
        if not self._pending:
            return []
        over = [name for name, (_, _, future) in self._pending.items() if future.done()]
        return [(submit, at_s, _outcome(future)) for submit, at_s, future in map(self._pending.pop, over)]

    def has(self, request: Id) -> bool:
        """Whether a request waits here."""
        return request in self._pending

    def forget(self, request: Id) -> bool:
        """Drop a request; says whether it was here."""
        return self._pending.pop(request, None) is not None

    async def rung(self) -> None:
        """Wait until something is compiled."""
        await self._bell.wait()
        self._bell.clear()

    def bell(self) -> None:
        """Wake whoever waits."""
        self._bell.set()

    def _ring_from_thread(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.bell)


def _outcome(future: Future[Matcher]) -> Matcher | ConfigError:
    error = future.exception()
    if error is None:
        return future.result()
    return error if isinstance(error, ConfigError) else ConfigError(f"response_format: {error}")
