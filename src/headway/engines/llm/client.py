"""The API process's side of the engine: starts it, talks to it, and starts it again when it dies.

The engine runs in a process of its own behind a socket pair. The end of that line is how either side learns that the
other is gone, at once and without polling: the engine ends when the API process does, and here every live request is
told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from headway.core.errors import EngineError
from headway.core.nouns import Id, Seconds
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.messages import (
    Adopted,
    Cancel,
    Drain,
    Fatal,
    FromEngine,
    Gauges,
    Loading,
    Output,
    Outputs,
    Ready,
    Submit,
    ToEngine,
    TuneEnded,
    TuneTold,
)
from headway.engines.llm.wire import Wire

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "headway.engines.llm.process")
STDERR = 2
REAP_S = 5.0


class Sink(Protocol):
    """Where the news of one request go; called in the event loop, must not block."""

    def push(self, output: Output) -> None:
        """Take the next news; the one with a `finish` is the last."""

    def fail(self, error: Exception) -> None:
        """Learn that no more news will come."""


News = Loading | Ready | Gauges | Fatal | TuneTold | TuneEnded | Adopted


class EngineClient:
    """One engine process, kept alive.

    Parameters
    ----------
    config : EngineConfig
        What the engine is told.
    on_news : callable or None
        Told what concerns no single request: loading, ready, gauges, fine-tuning, and `Fatal` whenever the engine was
        lost.
    command : sequence of str
        How the engine process is started; the socket's number and the configuration as JSON are appended.
    first_delay_s, last_delay_s : float
        Pause before a dead engine is started again, > 0; doubled each time it dies before it was ready. 0.2 and 30 by
        default.

    Attributes
    ----------
    ready : Ready or None
        The engine's facts while it can serve.
    why_not : str
        Why it cannot serve, as a clause, while it cannot.
    num_restarts : int
        How often it was started again.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        on_news: Callable[[News], None] | None = None,
        command: Sequence[str] = COMMAND,
        first_delay_s: Seconds = 0.2,
        last_delay_s: Seconds = 30.0,
    ) -> None:
        self.config = config
        self.command = tuple(command)
        self.first_delay_s = first_delay_s
        self.last_delay_s = last_delay_s
        self.ready: Ready | None = None
        self.why_not = "the engine is not started"
        self.num_restarts = 0
        self._on_news = on_news or _ignore
        self._sinks: dict[Id, Sink] = {}
        self._wire: Wire[FromEngine] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._leaving = False

    # Life --------------------------------------------------------------------------------------------------------

    async def start(self) -> Ready:
        """Start the engine and wait until it can serve.

        Raises
        ------
        EngineError
            When it ends before it was ready; it is not started again then.
        """
        first: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._supervisor = asyncio.create_task(self._supervise(first))
        return await asyncio.shield(first)

    async def drain(self) -> None:
        """Let the engine finish what it has, and wait until it has ended."""
        self._leaving = True
        if self._wire is not None:
            self._wire.send(Drain())
        await self._until_supervised()

    async def close(self, patience_s: Seconds = 5.0) -> None:
        """End the engine whatever it does, and wait until its process is gone."""
        self._leaving = True
        if self._supervisor is not None:
            self._supervisor.cancel()  # hangs up, and the engine ends by that
        await self._until_supervised()
        if self._process is not None:
            await _reap(self._process, patience_s)

    def kill(self) -> None:
        """End the engine's process on the spot, without waiting; for the very end."""
        self._leaving = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    @property
    def pid(self) -> int | None:
        """Process id of the engine, if there is one."""
        return self._process.pid if self._process is not None else None

    # Requests ----------------------------------------------------------------------------------------------------

    def submit(self, request: Submit, sink: Sink) -> None:
        """Send a request; its news go to `sink` from now on.

        Raises
        ------
        EngineError
            When the engine cannot serve now.
        """
        if self.ready is None or self._wire is None:
            raise EngineError(self.why_not)
        self._wire.send(request)  # first: what cannot be sent must not be waited for
        self._sinks[request.id] = sink

    def cancel(self, request: Id, reason: str = "cancelled") -> None:
        """Stop a request if it is still going on; its sink hears no more."""
        if self._sinks.pop(request, None) is not None and self._wire is not None:
            self._wire.send(Cancel(id=request, reason=reason))

    def send(self, message: ToEngine) -> None:
        """Send what concerns no single request.

        Raises
        ------
        EngineError
            When the engine cannot serve now.
        """
        if self.ready is None or self._wire is None:
            raise EngineError(self.why_not)
        self._wire.send(message)

    @property
    def num_live(self) -> int:
        """Requests whose end was not told yet."""
        return len(self._sinks)

    # Supervision -------------------------------------------------------------------------------------------------

    async def _supervise(self, first: asyncio.Future[Ready]) -> None:
        delay_s = self.first_delay_s
        while True:
            was_ready = await self._one_life(first)
            if not first.done():
                first.set_exception(EngineError(f"engine: must start, but {self.why_not}."))
                return
            if self._leaving:
                return
            delay_s = self.first_delay_s if was_ready else min(self.last_delay_s, 2 * delay_s)
            log.error("engine: %s; starting it again in %.1f s", self.why_not, delay_s)
            await asyncio.sleep(delay_s)
            self.num_restarts += 1

    async def _one_life(self, first: asyncio.Future[Ready]) -> bool:
        """Run one engine process to its end; says whether it ever was ready."""
        try:
            process, wire = self._spawn()
        except OSError as error:
            self.why_not = f"its process could not be started ({error})"
            return False
        fatal = ""
        try:
            fatal = await self._listen(wire, first)
        except Exception:  # whatever it is: an engine must be started again
            log.exception("engine: hung up on it")
        finally:
            was_ready = self.ready is not None
            self.ready, self._wire = None, None
            wire.close()
            self._fail_all()
        status = await _reap(process, REAP_S)
        self.why_not = fatal.rstrip(".") or f"its process ended ({_in_words(status)})"
        self._on_news(Fatal(why=self.why_not))
        return was_ready

    def _spawn(self) -> tuple[subprocess.Popen[bytes], Wire[FromEngine]]:
        here, there = socket.socketpair()
        config = msgspec.json.encode(self.config).decode()
        with there:
            process = subprocess.Popen(
                [*self.command, str(there.fileno()), config],
                pass_fds=(there.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=STDERR,  # nothing but the server itself writes to standard output
                process_group=0,  # a Ctrl-C in the terminal is for the server to act on
                env={"OMP_WAIT_POLICY": "passive", **os.environ},  # idle threads must not spin: the API needs a core
            )
        self._process, self._wire = process, Wire.of_api(here)
        self.why_not = "the engine is starting"
        return process, self._wire

    async def _listen(self, wire: Wire[FromEngine], first: asyncio.Future[Ready]) -> str:
        """Pass on what the engine says until it hangs up; returns the reason if it gave one."""
        fatal = ""
        while messages := await wire.receive():
            for message in messages:
                if isinstance(message, Outputs):
                    self._deliver(message)
                    continue
                if isinstance(message, Fatal):
                    fatal = message.why
                    continue  # told to all once the process is gone
                self._note(message, first)
                self._on_news(message)
        return fatal

    def _deliver(self, outputs: Outputs) -> None:
        sinks = self._sinks
        for item in outputs.items:
            sink = sinks.pop(item.id, None) if item.finish else sinks.get(item.id)
            if sink is not None:
                sink.push(item)
        for name, token in zip(outputs.ids, outputs.tokens, strict=True):
            if name in sinks:
                sinks[name].push(Output(id=name, tokens=[token]))

    def _note(self, message: News, first: asyncio.Future[Ready]) -> None:
        if isinstance(message, Loading):
            self.why_not = f"the engine is loading ({message.what})"
        elif isinstance(message, Ready):
            self.ready = message
            if not first.done():
                first.set_result(message)

    def _fail_all(self) -> None:
        self.why_not = "the server is shutting down" if self._leaving else "the engine ended and is being started again"
        sinks, self._sinks = self._sinks, {}
        for sink in sinks.values():
            sink.fail(EngineError(self.why_not))

    async def _until_supervised(self) -> None:
        if self._supervisor is not None:
            await asyncio.wait([self._supervisor])


def _ignore(news: News) -> None:
    del news


async def _reap(process: subprocess.Popen[bytes], patience_s: Seconds) -> int:
    """Wait until a process is gone, and kill it when that takes too long; returns its status."""
    try:
        return await asyncio.to_thread(process.wait, patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return await asyncio.to_thread(process.wait)


def _in_words(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return f"killed by {signal.Signals(-status).name}"
