"""How something that the server itself knows nothing of takes part in its life."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.routing import Route

from headway.engines.llm.client import News


class Extension(Protocol):
    """Something that lives as long as a server does, with routes of its own.

    It is made before the engine is started, so it may still change what the engine is told; it hears everything that
    the engine says of itself.
    """

    def routes(self) -> Sequence[Route]:
        """Its routes; they come before the server's own."""

    def note(self, news: News) -> None:
        """Hear what the engine says; called in the event loop, must not block."""

    def measure(self) -> None:
        """Bring its metrics up to date; called before they are written down."""

    async def open(self) -> None:
        """Begin to work: the engine and the tokenizer are there."""

    async def close(self) -> None:
        """Come to an end, as the server is about to; the engine is still there."""

    def release(self) -> None:
        """Give back what it holds; the last call, whatever went before."""
