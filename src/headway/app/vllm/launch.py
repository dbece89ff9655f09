"""Running vLLM with our scheduler and our door: start, wait until it serves, pass signals on, end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import msgspec
from msgspec import Struct

from headway.app.server.config import ServerConfig, keys_of
from headway.app.server.listening import listening, url_of
from headway.app.vllm.child import Child
from headway.app.vllm.command import Command, command, installed
from headway.app.vllm.facts import Probe, VllmFacts
from headway.app.vllm.listeners import others_listen
from headway.core.errors import EngineError
from headway.core.nouns import Seconds

PAUSE_S = 0.25
"""Between two looks at a vLLM that starts."""
REMIND_S = 10.0
PATIENCE_S = 15.0
"""How long vLLM may take to end beyond what its requests were given."""

MILESTONES = {
    "Resolved architecture": "the model is known",
    "Starting to load model": "loading weights",
    "Loading weights took": "weights are loaded",
    "torch.compile takes": "compiled",
    "KV cache size": "memory is divided into blocks",
    "Starting vLLM server": "opening the door",
}
"""What vLLM writes on its way, and what it means."""

ANY_HOST = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}


class Launched(Struct, frozen=True, kw_only=True):
    """A vLLM that serves.

    Parameters
    ----------
    url : str
        Its address.
    version : str
        Of vLLM.
    pid : int
        Of its first process.
    policy : str
        Who decides in it.
    slo_classes : tuple of str
        The promises that requests can name.
    facts : VllmFacts
        What it says of itself.
    """

    url: str
    version: str
    pid: int
    policy: str
    slo_classes: tuple[str, ...]
    facts: VllmFacts


def run(
    config: ServerConfig,
    given: Collection[str],
    further: Sequence[str] = (),
    *,
    on_loading: Callable[[str], None],
    on_ready: Callable[[Launched], None],
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Serve with vLLM until asked to stop, and return the exit status.

    Parameters
    ----------
    config, given, further, environment
        As for `command`.
    on_loading : callable
        Told in a few words how it goes before vLLM can serve.
    on_ready : callable
        Told once it can.

    Raises
    ------
    ConfigError
        When the configuration cannot work in vLLM, or there is no vLLM.
    EngineError
        When vLLM ended without being asked to.
    """
    version = installed()
    with listening(config.host, config.port) as listener:  # a port that is taken is better told now
        port = listener.getsockname()[1]
    config = msgspec.structs.replace(config, port=port)
    made = command(config, given, further, environment)
    keys = keys_of(config, environment)
    probe = Probe(_url(ANY_HOST.get(config.host, config.host), port, further), keys[0] if keys else "")

    def ready(facts: VllmFacts, pid: int) -> None:
        names = tuple(promise.name for promise in config.slo_classes)
        url = _url(config.host, port, further)
        policy = config.engine.policy
        on_ready(Launched(url=url, version=version, pid=pid, policy=policy, slo_classes=names, facts=facts))

    return supervise(made, probe, config.drain_timeout_s + PATIENCE_S, on_loading=on_loading, on_ready=ready)


def supervise(
    made: Command,
    probe: Probe,
    patience_s: Seconds,
    *,
    on_loading: Callable[[str], None],
    on_ready: Callable[[VllmFacts, int], None],
) -> int:
    """Run a server as a child, with signals: the first asks it to end, the second ends it on the spot.

    Parameters
    ----------
    made : Command
        How it is started.
    probe : Probe
        Asks whether it serves.
    patience_s : float
        How long it may take to end once it was asked to, in seconds, >= 0.
    on_loading, on_ready : callable
        Told how it goes, and then what it is and the id of its first process.

    Returns
    -------
    int
        Its exit status; 0 when it was asked to end before it could serve.

    Raises
    ------
    EngineError
        When it ended without being asked to.
    """
    log = _Log(on_loading)
    child = Child(made, log)
    try:
        with _signals(child, patience_s) as stopping:
            if not _until_ready(child, probe, stopping, on_loading):
                return 0
            log.passes = True
            on_ready(probe.facts(), child.pid)
            status = child.wait()
    finally:
        child.close()
    assert status is not None
    if not stopping.is_set():  # vLLM calls it a success when its engine has died
        raise EngineError(f"serve: vLLM must go on until it is asked to end, and {_how(status)}. Its log says why.")
    return status if status >= 0 else 128 - status


class _Log:
    """vLLM's log: while it starts, only what it means; then line by line."""

    def __init__(self, on_loading: Callable[[str], None]) -> None:
        self.passes = False
        self._on_loading = on_loading
        self._told: set[str] = set()

    def __call__(self, line: str) -> None:
        if self.passes:
            print(line, file=sys.stderr, flush=True)  # noqa: T201  (vLLM's own words, and its own stream)
            return
        for mark, meaning in MILESTONES.items():
            if mark in line and mark not in self._told:
                self._told.add(mark)
                self._on_loading(f"vLLM: {meaning}")


def _until_ready(child: Child, probe: Probe, stopping: threading.Event, on_loading: Callable[[str], None]) -> bool:
    """Wait until it serves; says whether that came about before somebody asked for the end."""
    start_s = reminded_s = time.monotonic()
    while not probe.is_healthy():
        status = child.wait(PAUSE_S)
        if stopping.is_set():
            break
        if status is not None:
            raise _died(child, status)
        if time.monotonic() - reminded_s >= REMIND_S:
            reminded_s = time.monotonic()
            on_loading(f"vLLM: still starting, {reminded_s - start_s:.0f} s so far")
    if stopping.is_set():
        child.wait()
        return False
    if others_listen(probe.port, child.pid):
        raise EngineError(
            f"serve: port {probe.port} must be vLLM's alone, and another process listens on it. Choose another --port."
        )
    return True


def _died(child: Child, status: int) -> EngineError:
    child.close()
    for line in child.trouble.lines:
        print(f"  {line}", file=sys.stderr)  # noqa: T201
    what = f": {child.trouble.cause}" if child.trouble.cause else ". Its last lines stand above."
    return EngineError(f"serve: vLLM must get as far as serving, and {_how(status)} before{what}")


def _how(status: int) -> str:
    return f"ended with exit status {status}" if status >= 0 else f"ended with signal {-status}"


@contextmanager
def _signals(child: Child, patience_s: Seconds) -> Iterator[threading.Event]:
    """Pass the first signal on to vLLM; the second, or one that vLLM does not heed, ends it on the spot."""
    stopping = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        if stopping.is_set():
            child.kill()
            os._exit(128 + number)
        stopping.set()
        child.ask_to_end()
        timer = threading.Timer(patience_s, child.kill)
        timer.daemon = True
        timer.start()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url(host: str, port: int, further: Sequence[str]) -> str:
    url = url_of(host, port)
    secure = any(word.split("=")[0] == "--ssl-certfile" for word in further)
    return url.replace("http:", "https:", 1) if secure else url
