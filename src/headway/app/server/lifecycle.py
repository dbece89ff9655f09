"""A server's life: listen, load, serve, drain, end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp

from headway.app.server.application import make_app
from headway.app.server.config import ServerConfig
from headway.app.server.errors import unavailable
from headway.app.server.extension import Extension
from headway.app.server.listening import listening, url_of
from headway.app.server.service import Service
from headway.app.server.spans import export_if_asked
from headway.app.server.tokenizer import load_tokenizer
from headway.engines.llm.client import COMMAND
from headway.engines.llm.messages import Ready

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that they close first and none sends into a closing one."""
LAST_WORDS_S = 2.0
"""How long streams may take to say that they were cut off, and the engine to end by itself."""


class HttpServer(uvicorn.Server):
    """An HTTP server that leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Lifecycle:
    """One server from its start to its end.

    Parameters
    ----------
    config : ServerConfig
        What is served, and how.
    on_loading, on_ready : callable or None
        As for `headway.app.server.run`.
    command : sequence of str
        How the engine process is started.
    extend : callable or None
        Makes what takes part in the server's life beside it.

    Attributes
    ----------
    service : Service
        What the routes share.
    url : str
        Where it listens, known once `run` has begun.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        on_loading: Callable[[str], None] | None = None,
        on_ready: Callable[[Ready, str], None] | None = None,
        command: Sequence[str] = COMMAND,
        extend: Callable[[Service], Extension] | None = None,
    ) -> None:
        self.config = config
        self.service = Service(config, on_loading=on_loading, command=command)
        self.url = ""
        self._on_ready = on_ready
        self._extend = extend
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ask for an orderly end; call it in the event loop."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether somebody asked for the end."""
        return self._stop.is_set()

    async def run(self) -> None:
        """Serve until `stop` is called.

        Raises
        ------
        ConfigError
            When the address is taken or there is no tokenizer.
        EngineError
            When the engine could not be started.
        """
        with listening(self.config.host, self.config.port) as listener:
            self.url = url_of(self.config.host, listener.getsockname()[1])
            if self._extend is not None:
                self.service.extension = self._extend(self.service)
            server = HttpServer(_http_config(make_app(self.service)))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                if await self._load():
                    await self._stop.wait()
                await self._drain()
            finally:
                await self.service.engine.close()
                server.should_exit = True
                await serving
                self.service.log.close()
                if self.service.extension is not None:
                    self.service.extension.release()

    async def _load(self) -> bool:
        """Load engine and tokenizer side by side; says whether that was done before somebody asked for the end."""
        tokenizer = asyncio.to_thread(load_tokenizer, self.config.engine.model)
        loading = asyncio.gather(self.service.engine.start(), tokenizer)
        stop = asyncio.create_task(self._stop.wait())
        try:
            waited: set[asyncio.Future[Any]] = {loading, stop}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not loading.done():
                return False
            ready, loaded = loading.result()
        finally:
            loading.cancel()
            stop.cancel()
        self.service.open(loaded)
        if self.service.extension is not None:
            await self.service.extension.open()
        if self._on_ready is not None:
            shown = self.service.offers.shown(ready.adapters)
            self._on_ready(msgspec.structs.replace(ready, adapters=shown), self.url)
        return True

    async def _drain(self) -> None:
        """Refuse new requests, let the live ones finish as long as they may, and cut off the rest."""
        service = self.service
        service.gate.draining = True
        if service.extension is not None:
            await service.extension.close()
        if service.gate.live:
            log.info("server: waiting for %d outputs to finish", service.gate.live)
        if not await _within(self.config.drain_timeout_s, service.gate.empty()):
            service.fail_all(unavailable("it is shutting down", "shutting_down"))
            await _within(LAST_WORDS_S, service.gate.empty())
        await _within(LAST_WORDS_S, service.engine.drain())


def run_server(
    config: ServerConfig,
    *,
    on_loading: Callable[[str], None] | None = None,
    on_ready: Callable[[Ready, str], None] | None = None,
    command: Sequence[str] = COMMAND,
    extend: Callable[[Service], Extension] | None = None,
) -> int:
    """Serve in this process, with signals: the first asks for an orderly end, the second ends on the spot."""
    export_if_asked()

    async def main() -> None:
        life = Lifecycle(config, on_loading=on_loading, on_ready=on_ready, command=command, extend=extend)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, _on_signal, life, number)
        await life.run()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())
    return 0


def _on_signal(life: Lifecycle, number: signal.Signals) -> None:
    if life.stopping:
        life.service.engine.kill()
        os._exit(128 + number)
    life.stop()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    return uvicorn.Config(app="", log_config=None).get_loop_factory()


def _http_config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # ours says more
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
    )


async def _within(limit_s: float, waiting: Awaitable[None]) -> bool:
    """Wait for something at most so long; says whether it came."""
    try:
        async with asyncio.timeout(limit_s):
            await waiting
    except TimeoutError:
        return False
    return True
