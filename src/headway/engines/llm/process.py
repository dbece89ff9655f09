"""The engine process: ``python -m headway.engines.llm.process FD CONFIG``.

`FD` is the number of an inherited socket, the engine's end of the line; `CONFIG` is an `EngineConfig` as JSON. The
process ends with status 0 when it was drained or the API process is gone, and with 1, after a `Fatal` message, when it
cannot go on. Ctrl-C is for the API process to act on; SIGTERM means drain.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from headway.core.drivers import serve
from headway.core.errors import HeadwayError
from headway.core.nouns import Seconds
from headway.engines.llm.assembly import Assembly, LoadedModel, build_policy
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.messages import Fatal, Loading, ToEngine
from headway.engines.llm.model.rows import Columns
from headway.engines.llm.wire import Wire

log = logging.getLogger(__name__)

GAUGES_S: Seconds = 0.5
FLUSH_S: Seconds = 5.0
LAST_WORDS_S: Seconds = 2.0
"""How long a step under way may still take once the API process is gone; nobody waits for it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an engine process to its end; returns its exit status."""
    fd, config = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.WARNING, format="engine: %(levelname)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=int(fd))
    threading.Thread(target=_end_with_the_other_side, args=(sock.fileno(),), daemon=True).start()
    return asyncio.run(_live(sock, msgspec.json.decode(config, type=EngineConfig)))


async def _live(sock: socket.socket, config: EngineConfig) -> int:
    wire = Wire.of_engine(sock)
    why = ""
    try:
        await _serve(wire, config)
    except (HeadwayError, MemoryError) as error:
        why = str(error) or type(error).__name__
    except Exception as error:
        log.exception("the engine ends")
        why = f"engine: must not fail, but did ({type(error).__name__}: {error}). This is a defect; please report it."
    if why:
        wire.send(Fatal(why=why))
    with suppress(TimeoutError):
        await asyncio.wait_for(wire.flush(), FLUSH_S)
    wire.close()
    return 1 if why else 0


async def _serve(wire: Wire[ToEngine], config: EngineConfig) -> None:
    """Load the model and serve it until the engine is drained."""

    def progress(what: str) -> None:
        wire.send(Loading(what=what))

    policy = build_policy(config)  # before the model, which takes longer to load
    assembly = Assembly(config, _load(config, progress), wire, policy)
    _settle()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, assembly.engine.drain)
    wire.send(assembly.ready(os.getpid()))
    pulse = asyncio.create_task(_pulse(assembly, wire))
    try:
        await serve(assembly.engine, policy, session=assembly.session)
        wire.send(assembly.gauges())
    finally:
        pulse.cancel()
        assembly.grammars.close()


def _load(config: EngineConfig, progress: Callable[[str], None]) -> LoadedModel:
    from headway.engines.llm.model.runner import Runner
    from headway.engines.llm.sampling import sample  # noqa: F401 (imported now, so that the first token need not wait for it)

    runner = Runner(config, progress)
    progress("warming up")
    _warm_up(runner)
    return runner


def _warm_up(runner: LoadedModel) -> None:
    """Run one token, so that a model that cannot run is known before it is called ready."""
    slot = runner.open([0], "")
    runner.set_blocks(slot, [0])
    runner.run(Columns([slot], [0], [1]))
    runner.close(slot)


def _settle() -> None:
    """Take everything loaded so far out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()


async def _pulse(assembly: Assembly, wire: Wire[ToEngine]) -> None:
    """Send gauges twice a second while anything changes."""
    last = None
    while True:
        gauges = assembly.gauges()
        if gauges != last:
            wire.send(gauges)
            last = gauges
        assembly.look_after_runs()
        await asyncio.sleep(GAUGES_S)


def _end_with_the_other_side(fd: int) -> None:
    """End this process when the API process is gone, even while a model loads or a step runs."""
    poll = select.poll()
    poll.register(fd, select.POLLHUP | select.POLLRDHUP)
    while not poll.poll():
        pass
    time.sleep(LAST_WORDS_S)  # an engine between two steps notices by itself, and closes its trace
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
